"""The events of all workers as one stream: each with the number of its worker, and an id of the supervisor."""

import asyncio
from collections.abc import Callable, Mapping
from typing import cast, get_args

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from appliance.control.auth.access import Actor
from appliance.control.http.problems import Invalid, TooManyListeners
from appliance.control.models import EventKind
from appliance.control.observe.events import Events
from appliance.control.routes.events import Stream
from appliance.errors import WorkerAway
from appliance.gateway.tasks import Tasks
from appliance.supervisor.control.asking import Question, stream
from appliance.supervisor.worker import Worker

_log = structlog.get_logger(__name__)

OF_ONE = frozenset({"audit", "reload"})
"""Kinds of which each worker has the same; those of the first one are passed on."""
MAX_LINE = 1024 * 1024
AGAIN_S = 0.5


class MergedEvents:
    """Listens to each worker while that is ready, and publishes what it says."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        """``changed`` is called when the first worker may run another configuration than before: each outcome of a
        reload, also of one that nobody asked for, such as the end of a trial; and each new process.
        """
        self.events = Events()
        self._changed = changed
        self._tasks = Tasks()

    def follow(self, workers: list[Worker]) -> None:
        """Listen to these from now on."""
        for each in workers:
            self._tasks.start(self._follow(each))

    async def close(self) -> None:
        """End every stream."""
        self.events.close()
        await self._tasks.cancel()

    async def _follow(self, worker: Worker) -> None:
        while True:
            await worker.ready.wait()
            try:
                async with stream(worker.role.number, worker.role.control, Question("GET", "/v1/events")) as parts:
                    if worker.role.is_first:
                        self._changed()
                    rest = b""
                    async for part in parts:
                        *lines, rest = (rest + part).split(b"\n")
                        for line in lines:
                            self._take(worker, line)
                        if len(rest) > MAX_LINE:
                            break
            except WorkerAway:
                pass  # it restarts
            await asyncio.sleep(AGAIN_S)

    def _take(self, worker: Worker, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        event = orjson.loads(line[len(b"data: ") :])
        if event["kind"] in OF_ONE and not worker.role.is_first:
            return
        data: Mapping[str, object] = {**event["data"], "worker": worker.role.number}
        self.events.publish(cast("EventKind", event["kind"]), data)
        if event["kind"] == "reload":
            self._changed()

    def response(self, request: Request, _: Actor) -> Response:
        """The stream for one listener. Raises TooManyListeners and Invalid."""
        if self.events.is_full:
            raise TooManyListeners(f"{len(self.events)} clients receive events already, which is the limit")
        kinds = request.query_params.getlist("kinds")
        if unknown := set(kinds) - set(get_args(EventKind)):
            raise Invalid(f"kinds: {sorted(unknown)[0]!r:.40} is no kind of event")
        after = request.headers.get("last-event-id", "")
        return Stream(self.events, set(kinds) or None, int(after) if after.isdecimal() else None)
