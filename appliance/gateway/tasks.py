"""The owner of background tasks: asyncio keeps only weak references, so a task that nobody holds may vanish."""

import asyncio
from collections.abc import Coroutine

import structlog

_log = structlog.get_logger(__name__)


class Tasks:
    """Runs coroutines in the background until ``finish`` or ``cancel``."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Run in the background. An exception is logged and goes no further."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self, timeout_s: float) -> int:
        """Wait for all tasks, including those that they start, and cancel the rest. Returns how many were cancelled."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._running:
                    await asyncio.wait(set(self._running))
        except TimeoutError:
            pass
        left = len(self._running)
        await self.cancel()
        return left

    async def cancel(self) -> None:
        """Cancel all and wait for their end."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(set(self._running))

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task failed", exc_info=error)
