"""Work that is done to its end, one piece at a time, whoever asked for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class Serial:
    """Tasks with an owner, and a lock for those that must not run beside each other."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Do the work behind whatever was asked for before. Raises what it raises.

        In a task of its own, shielded: a caller that is cancelled (an API client that disconnects) must not stop a
        change between its steps.
        """

        async def alone() -> ResultT:
            async with self._lock:
                return await work()

        return await asyncio.shield(self.start(alone()))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for whatever was asked for before, and let nothing begin meanwhile."""
        async with self._lock:
            yield

    def start(self, work: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        """Run beside all others until `cancel`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel everything and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller may be gone, and asyncio would log it as lost
