"""Which workers the supervisor asks. They are servers at real sockets."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Message

from appliance.control.auth.access import ACTOR, Actor
from appliance.supervisor.control.changes import Changes
from appliance.supervisor.control.events import MergedEvents
from appliance.supervisor.control.front import Front
from tests.supervisor.control.test_changes import Supervised, supervised

ADMIN = Actor("alice", "admin", "unix")


async def sent(
    it: Supervised, changes: Changes, method: str, target: str, body: object = None
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
