"""A change of the configuration is made by all workers, or by none. The workers are servers at real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from appliance.config.fields.address import UnixAddress
from appliance.control.auth.access import VOUCHED
from appliance.control.http.problems import Invalid, Unavailable
from appliance.control.http.server import Server
from appliance.errors import WorkerAway
from appliance.supervisor.control.asking import Question, ask
from appliance.supervisor.control.changes import CONFIRM, ROLL_BACK, Changes
from appliance.supervisor.supervisor import HAND_ON
from appliance.worker.role import Role

APPLIED = {"result": "applied", "confirm_by": None}
APPLY = Question("POST", "/v1/config/apply", None, b'{"save": true}', {"if-match": "1-x"})


def in_hours(hours: float) -> str:
    """A time as the API writes it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


@dataclass
class Answering:
    """A worker that answers as it is told, and remembers what it was asked."""

    role: Role
    status: int = 200
    answer: dict[str, Any] = field(default_factory=lambda: dict(APPLIED))
    asked: list[tuple[str, bytes, dict[bytes, bytes]]] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    hangs_up: bool = False
    pid: int = 1
    targets: list[str] = field(default_factory=list)
    runs: dict[str, Any] | None = None
    """What it answers at ``/v1/config``, where that is another answer."""

    def __post_init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()

    def send(self, number: int) -> None:
        self.signals.append(number)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.targets.append(f"{scope['path']}?{scope['query_string'].decode()}".removesuffix("?"))
        self.asked.append((scope["path"], body, dict(scope["headers"])))
        if self.hangs_up:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
            await send({"type": "http.response.body", "body": b"{"})
            return
        shows = scope["path"] == "/v1/config" and self.runs is not None
        status = 200 if scope["path"] == ROLL_BACK or shows else self.status
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"x/y")]})
        await send({"type": "http.response.body", "body": orjson.dumps(self.runs if shows else self.answer)})

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]


@dataclass
class Supervised:
    workers: list[Answering]
    is_restarting: bool = False

    def node_of(self, worker: Answering) -> str:
        return worker.role.node("a")


@asynccontextmanager
async def supervised(folder: Path, count: int = 3) -> AsyncIterator[tuple[Supervised, Changes, list[str]]]:
    followed: list[str] = []

    async def follow() -> None:
        followed.append("changed")

    workers = [Answering(Role(number, count, folder)) for number in range(1, count + 1)]
    async with AsyncExitStack() as stack:
        for each in workers:
            await stack.enter_async_context(Server(each, UnixAddress(each.role.control)))
        it = Supervised(workers)
        yield it, Changes(it, follow), followed  # type: ignore[arg-type]


async def test_all_make_it_the_first_one_first_which_alone_writes_the_file(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, followed):
        said = await changes.make(APPLY)
        assert said.json == APPLIED
        assert [each.paths for each in it.workers] == [["/v1/config/apply"]] * 3
        first, *others = [each.asked[0] for each in it.workers]
        assert first[1] == b'{"save": true}'
        assert first[2][b"if-match"] == b"1-x"
        for each in others:
            assert json.loads(each[1]) == {}
            assert b"if-match" not in each[2]
        assert followed == ["changed"]
        assert not changes.is_on_trial


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/config/apply", b'{ "save" : true, "text": "a: 1"}'),
        ("/v1/canisters/x?save=1&force=true", b""),
        ("/v1/canisters/x?force=true&save=True", b'"save"'),
    ],
)
async def test_only_the_first_one_writes_the_file_however_that_is_asked_for(
    tmp_path: Path, target: str, body: bytes
) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        await changes.make(Question("POST", target, None, body))
        assert (it.workers[0].targets, it.workers[0].asked[0][1]) == ([target], body)
        for each in it.workers[1:]:
            assert "save=" not in each.targets[0]
            assert b"save" not in each.asked[0][1] or body == b'"save"'


async def test_what_the_first_one_refuses_the_others_are_not_asked(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, followed):
        it.workers[0].status = 422
        assert (await changes.make(APPLY)).status == 422
        assert [len(each.asked) for each in it.workers] == [1, 0, 0]
        assert followed == []


async def test_what_one_refuses_is_taken_back_by_those_that_made_it(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, followed):
        it.workers[2].status, it.workers[2].answer = 422, {"detail": "no"}
        said = await changes.make(APPLY)
        assert (said.status, said.json) == (422, {"detail": "no"})
        assert [each.paths[1:] for each in it.workers] == [[ROLL_BACK], [ROLL_BACK], []]
        assert followed == []


async def test_a_change_of_canisters_is_taken_back_too(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"canister": "x", "applied": APPLIED}
        it.workers[1].status = 422
        assert (await changes.make(Question("POST", "/v1/canisters"))).status == 422
        assert [each.paths[1:] for each in it.workers] == [[ROLL_BACK], [], []]


async def test_nothing_is_taken_back_where_nothing_changed(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"result": "unchanged"}
        it.workers[1].status = 409
        assert (await changes.make(APPLY)).status == 409
        assert it.workers[0].paths == ["/v1/config/apply"]


async def test_one_that_does_not_answer_is_started_again_with_what_the_others_have(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, followed):
        it.workers[1].hangs_up = True
        assert (await changes.make(APPLY)).is_good
        assert [each.signals for each in it.workers] == [[], [9], []]
        assert followed == ["changed"]


async def test_nothing_changes_while_a_worker_is_not_ready(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[1].ready.clear()
        with pytest.raises(Unavailable, match="2"):
            await changes.make(APPLY)
        it.workers[1].ready.set()
        it.is_restarting = True
        with pytest.raises(Unavailable, match="restart"):
            await changes.make(APPLY)
        assert not any(each.asked for each in it.workers)


async def test_a_trial_is_known_until_it_is_confirmed(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"result": "applied", "confirm_by": in_hours(1)}
        await changes.make(APPLY)
        assert changes.is_on_trial
        it.workers[0].answer = {"level": "debug"}  # of a change of something else
        await changes.make(Question("PUT", "/v1/log"))
        assert changes.is_on_trial
        it.workers[0].answer = {"result": "confirmed", "confirm_by": None}
        await changes.make(Question("POST", "/v1/config/confirm"))
        assert not changes.is_on_trial


async def test_a_trial_ends_by_itself_too(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        it.workers[0].answer = {"result": "applied", "confirm_by": in_hours(-1)}
        await changes.make(APPLY)
        assert not changes.is_on_trial


async def test_a_worker_whose_trial_ended_before_it_was_confirmed_is_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, followed):
        it.workers[0].answer = {"result": "confirmed", "confirm_by": None}
        it.workers[1].status = 409
        assert (await changes.make(Question("POST", CONFIRM))).is_good
        assert [each.signals for each in it.workers] == [[], [HAND_ON], []]
        assert [each.paths for each in it.workers] == [[CONFIRM]] * 3
        assert followed == ["changed"]


async def test_a_trial_that_each_worker_would_judge_by_itself_is_refused(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (it, changes, _):
        body = b'{"confirm_within_s": 60, "keep_if_healthy": true}'
        with pytest.raises(Invalid, match="keep_if_healthy: cannot be used with several workers"):
            await changes.make(Question("POST", "/v1/config/apply", None, body))
        assert not any(each.asked for each in it.workers)


async def test_the_sender_is_vouched_for_and_a_worker_that_is_not_there_is_away(tmp_path: Path) -> None:
    async with supervised(tmp_path, 1) as (it, _, _):
        role = it.workers[0].role
        await ask(1, role.control, Question("GET", "/x?a=1"))
        await ask(1, role.control, Question("GET", "/x", None))
        said = [headers[VOUCHED] for _, _, headers in it.workers[0].asked]
        assert said == [b'["supervisor","admin","unix"]', b"null"]
        it.workers[0].hangs_up = True
        with pytest.raises(WorkerAway):
            await ask(1, role.control, Question("GET", "/x"))
    with pytest.raises(WorkerAway, match="worker 1"):
        await ask(1, role.control, Question("GET", "/x"))
