"""When a poller polls next: the pace as a value that follows from the last reply, and a wait that can be cut short."""

import asyncio
from dataclasses import dataclass
from typing import Protocol, Self

from appliance.config.schema import Polling

SLOWEST = 10
"""Errors slow polling down to this many times ``max_interval``, no further."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a poller waits: ``wait_s`` until the next poll, after ``failures`` polls that failed in a row."""

    polling: Polling
    wait_s: float = 0.0
    failures: int = 0

    def after(self, *, polled: int, drained: bool) -> Self:
        """The pace after a reply with ``polled`` new messages; ``drained`` if it reached the end of the queue.

        There is no wait while the queue has more. A reply that claims more but brings nothing new counts as drained,
        or a canister could make the poller spin.
        """
        if polled:
            return self._with(0.0 if not drained else self.polling.min_interval)
        doubled = max(self.polling.min_interval, 2 * self.wait_s)
        return self._with(min(doubled, self.polling.max_interval))

    def nudged(self) -> Self:
        """The pace after a call to the canister: its answer may be in the queue, so poll at once."""
        return self._with(0.0)

    def failed(self, *, jitter: float, retry_after_s: float | None = None) -> Self:
        """The pace after a failed poll: the wait doubles with each failure in a row, is shortened by up to half by
        ``jitter`` (0 to 1), and is not below ``retry_after_s`` of the endpoint. `SLOWEST` bounds all of it.
        """
        ceiling = SLOWEST * self.polling.max_interval
        full = self.polling.min_interval * 2.0 ** min(self.failures, 64)  # 2.0 ** 1024 would overflow
        # The jitter comes after the ceiling: pollers that have all reached it would else poll in step.
        wait = min(full, ceiling) * (1 - jitter / 2)
        wait = min(max(wait, retry_after_s or 0.0), ceiling)
        return type(self)(self.polling, wait, self.failures + 1)

    def _with(self, wait_s: float) -> Self:
        return type(self)(self.polling, wait_s)


class WakeUp(Protocol):
    """A wait with a time-out that can be ended early; tests bring their own."""

    def set(self) -> None:
        """End the current wait, or the next one if there is none."""

    async def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``. Returns True, at once, if `set` was called."""


class LoopWakeUp:
    """A wake-up on the event loop's clock.

    Like an `asyncio.Event` with a time-out, but without a task and an exception for each of the waits that end by
    time, which are almost all of them.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        """End the current wait, or the next one if there is none."""
        self._is_set = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``. Returns True, at once, if `set` was called."""
        if not self._is_set and seconds > 0:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            handle = loop.call_later(seconds, self._wake)
            try:
                await self._waiting
            finally:
                handle.cancel()
                self._waiting = None
        was_set, self._is_set = self._is_set, False
        return was_set

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
