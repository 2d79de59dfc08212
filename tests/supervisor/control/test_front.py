"""Which workers the supervisor asks. They are servers at real sockets."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from appliance.control.auth.access import ACTOR, VOUCHED, Actor
from appliance.supervisor.control.changes import Changes
from appliance.supervisor.control.events import MergedEvents
from appliance.supervisor.control.front import Front
from appliance.supervisor.supervisor import Orders, Supervisor
from tests.supervisor.control.test_changes import Supervised, supervised

ADMIN = Actor("alice", "admin", "unix")


async def sent(
    it: Supervised | Supervisor, changes: Changes, method: str, target: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    """The status and the answer of a request to the supervisor."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        ACTOR: ADMIN,
    }
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    front = Front(it, changes, MergedEvents())  # type: ignore[arg-type]
    await front(scope, receive, send)
    return messages[0]["status"], orjson.loads(messages[1]["body"])


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/tokens"), ("DELETE", "/v1/tokens/alice"), ("POST", "/v1/config/plan")]
)
async def test_what_one_does_for_all_the_first_worker_alone_is_asked(tmp_path: Path, method: str, path: str) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"token": "icws_secret"}
        it.workers[1].status = 409  # the file has it already
        assert await sent(it, changes, method, path, {}) == (200, {"token": "icws_secret"})
        assert [each.paths for each in it.workers] == [[path], [], []]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/config/apply?node=b"),
        ("POST", "/v1/config/apply?node=%2A"),
        ("POST", "/v1/sessions/close?node=b"),
        ("GET", "/v1/sessions?node=b"),
    ],
)
async def test_what_is_meant_for_another_node_the_first_worker_alone_passes_on(
    tmp_path: Path, method: str, target: str
) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"items": ["of b"]}
        assert await sent(it, changes, method, target, {}) == (200, {"items": ["of b"]})
        assert [each.targets for each in it.workers] == [[target], [], []]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/sessions"), ("POST", "/v1/sessions/close")])
async def test_all_nodes_are_all_workers_each_asked_for_its_own(tmp_path: Path, method: str, path: str) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        for each in it.workers:
            each.answer = {"items": [], "next": None, "matched": 1, "closed": 1}
        status, said = await sent(it, changes, method, f"{path}?node=*&limit=5", {})
        assert status == 200
        assert said.get("matched", 3) == 3
        assert [each.targets for each in it.workers] == [[f"{path}?limit=5"]] * 3


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/sessions/close"), ("POST", "/v1/drain")])
async def test_a_worker_that_does_not_say_what_it_did_is_named(tmp_path: Path, method: str, path: str) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        for each in it.workers:
            each.answer = {"matched": 1, "closed": 1}
        it.workers[1].hangs_up = True
        status, said = await sent(it, changes, method, path, {})
        assert status == 504
        assert said["detail"].startswith("worker 2 does not answer: ")


async def test_who_restarts_the_workers_is_in_the_log(tmp_path: Path) -> None:
    async with supervised(tmp_path, 1) as (it, changes, _):
        supervisor = Supervisor(Orders(1, tmp_path, [], "a", None))
        with capture_logs() as log:
            assert (await sent(supervisor, changes, "POST", "/v1/workers/restart"))[0] == 200
            assert (await sent(supervisor, changes, "POST", "/v1/workers/restart"))[0] == 409
        assert supervisor.is_restarting
        supervisor.stop()
        [line] = [each for each in log if each["event"] == "the workers are restarted"]
        assert (line["actor"], line["address"]) == (ADMIN.name, ADMIN.address)
        [(path, _, headers)] = it.workers[0].asked  # which has the audit log
        assert (path, headers[VOUCHED]) == ("/v1/workers/restart", b'["alice","admin","unix"]')


async def test_the_metrics_of_the_supervisor_are_there_while_no_worker_is(tmp_path: Path) -> None:
    async with supervised(tmp_path, 1) as (_, changes, _):
        supervisor = Supervisor(Orders(2, tmp_path, [], "a", None))
        shown = await Front(supervisor, changes, MergedEvents()).metrics()
        assert b"\nicws_workers_ready 0\n" in shown
        assert b"\nicws_workers 2\n" in shown


async def test_workers_are_restarted_also_where_the_first_one_is_away(tmp_path: Path) -> None:
    async with supervised(tmp_path, 1) as (it, changes, _):
        it.workers[0].hangs_up = True
        supervisor = Supervisor(Orders(1, tmp_path, [], "a", None))
        with capture_logs() as log:
            assert (await sent(supervisor, changes, "POST", "/v1/workers/restart"))[0] == 200
        assert supervisor.is_restarting
        supervisor.stop()
        assert "the audit log does not have the restart of the workers" in [each["event"] for each in log]


@pytest.mark.parametrize("named", ["worker=2", "node=a.1", "node=a.2"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", f"/v1/config/{what}") for what in ("apply", "confirm", "rollback")),
        *(("PUT", "/v1/log"), ("POST", "/v1/tokens"), ("DELETE", "/v1/canisters/x"), ("POST", "/v1/workers/restart")),
    ],
)
async def test_what_all_workers_must_have_is_not_changed_at_one(
    tmp_path: Path, method: str, path: str, named: str
) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        status, said = await sent(it, changes, method, f"{path}?{named}", {})
        assert status == 422
        assert said["detail"].endswith("so one of them cannot be asked alone")
        assert not any(each.asked for each in it.workers)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nodes"), ("POST", "/v1/drain"), ("DELETE", "/v1/drain")])
@pytest.mark.parametrize("named", ["worker=2", "node=a.2"])
async def test_one_worker_is_asked_by_its_number_or_as_a_node(
    tmp_path: Path, method: str, path: str, named: str
) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        assert (await sent(it, changes, method, f"{path}?{named}", {}))[0] == 200
        assert [each.paths for each in it.workers] == [[], [path], []]


async def test_a_question_for_the_health_that_cannot_be_read_is_no_failing_health(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        for each in it.workers:
            each.status, each.answer = 422, {"status": 422, "detail": "verbose: is no bool"}
        assert await sent(it, changes, "GET", "/readyz?verbose=maybe") == (422, it.workers[0].answer)
        for each in it.workers:
            each.status, each.answer = 503, {"status": "failing"}
        assert await sent(it, changes, "GET", "/readyz?verbose=false") == (503, {"status": "failing"})
