"""Commands to the engine, each within a time that its caller can spare.

A command that takes too long is not cancelled: that would close its connection, and a slow engine would be flooded with
new ones. It goes on, and its caller goes on without it. So the number under way is bounded.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from appliance.errors import EngineAway

T = TypeVar("T")


class Commands:
    """The commands that are under way. ``late`` and ``dropped`` count those that took too long, and those that were not
    made because ``limit`` were under way.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.late = 0
        self.dropped = 0
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def under_way(self) -> int:
        """Commands without an answer so far."""
        return len(self._running)

    async def run(
        self,
        command: Callable[[], Coroutine[Any, Any, T]],
        within_s: float,
        *,
        late: Callable[[T], None] | None = None,
        is_vital: bool = False,
    ) -> T:
        """The answer to a command. After ``within_s`` seconds its caller goes on, and ``late`` gets the answer if one
        comes. What ``is_vital`` is made whatever else is under way.

        Raises EngineAway, and what the command raises.
        """
        if len(self._running) >= self.limit and not is_vital:
            self.dropped += 1
            raise EngineAway(f"{len(self._running)} commands are under way (cluster.commands)")
        task = asyncio.ensure_future(command())
        self._running.add(task)
        task.add_done_callback(self._done)
        await asyncio.wait({task}, timeout=within_s)
        if task.done():
            return task.result()
        self.late += 1
        if late is not None:
            task.add_done_callback(lambda task: _pass_on(task, late))
        raise EngineAway(f"no answer within {within_s * 1000:g} ms")

    async def finish(self, within_s: float) -> None:
        """Wait for the commands under way, and cancel what is left."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=within_s)
        left = set(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody may wait for it any more


def _pass_on(task: "asyncio.Task[T]", late: Callable[[T], None]) -> None:
    if not task.cancelled() and task.exception() is None:
        late(task.result())
