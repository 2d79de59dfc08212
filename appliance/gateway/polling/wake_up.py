"""Sleep that can be cut short."""

import asyncio
from typing import Protocol


class WakeUp(Protocol):
    """What the poller waits with; tests bring their own."""

    def ring(self) -> None:
        """End the wait that is on, or the next one."""

    async def wait(self, seconds: float) -> bool:
        """Wait that long. Returns True, at once, when rung."""


class LoopWakeUp:
    """An alarm on the event loop's clock."""

    def __init__(self) -> None:
        self._rung = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """End the wait that is on, or the next one."""
        self._rung = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Wait that long. Returns True, at once, when rung."""
        if not self._rung and seconds > 0:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            handle = loop.call_later(seconds, self._wake)
            try:
                await self._waiting
            finally:
                handle.cancel()
                self._waiting = None
        rung, self._rung = self._rung, False
        return rung

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
