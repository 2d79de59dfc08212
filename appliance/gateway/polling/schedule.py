"""When a poller polls next: pace and back-off as values that follow from the last reply, and a wait that can be cut
short.

Three things that must not be one number. The *pace* follows the messages; a nudge shortens its wait and nothing else.
The *back-off* follows failures: it ends with a poll that went well, never with a nudge, or a busy canister would be
polled without a pause while it fails. *Failover* is neither: each poll begins at another endpoint anyway.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, Self

from appliance.config.schema import CanisterPolling

ACTIVE_POLLS = 20
"""Polls without a message after which a canister counts as idle: 2 s where the budget is not spent."""
JOINED_S = 0.002
"""Nudges within this cause one poll. The calls of a block are answered together, and reading so many answers takes
milliseconds: a poll for the first of them would find the messages of all, and the polls for the others nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a poller waits: ``wait_s`` from the beginning of one poll to the next. ``quiet`` counts polls without a
    new message since the last message or nudge.
    """

    polling: CanisterPolling
    wait_s: float = 0.0
    quiet: int = 0

    def after(self, *, polled: int, drained: bool) -> Self:
        """The pace after a reply with ``polled`` new messages; ``drained`` if it reached the end of the queue.

        There is no wait while the queue has more. A reply that claims more but brings nothing new counts as drained,
        or a canister could make the poller spin.
        """
        if polled:
            return self._with(0.0 if not drained else self.polling.min_interval)
        doubled = max(self.polling.min_interval, 2 * self.wait_s)
        return self._with(min(doubled, self.polling.max_interval), self.quiet + 1)

    def nudged(self) -> Self:
        """The pace after a call to the canister: its answer may be in the queue, so poll at once."""
        return self._with(0.0)

    @property
    def is_active(self) -> bool:
        """Whether messages flow, or the answer to a call may be due: replicas lag behind by a block or two."""
        return self.quiet < ACTIVE_POLLS

    def _with(self, wait_s: float, quiet: int = 0) -> Self:
        if wait_s == self.wait_s and quiet == self.quiet:
            return self  # as for almost every poll of a canister whose messages flow
        return type(self)(self.polling, wait_s, quiet)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a poller waits after ``failures`` polls that failed in a row: ``wait_s`` from the end of the last."""

    failures: int = 0
    wait_s: float = 0.0

    def failed(self, polling: CanisterPolling, *, jitter: float, retry_after_s: float | None = None) -> Self:
        """The back-off after one more failure: the wait doubles with each in a row, is shortened by up to half by
        ``jitter`` (0 to 1), and is not below ``retry_after_s`` of the endpoint. ``max_backoff`` bounds all of it.
        """
        full = polling.min_interval * 2.0 ** min(self.failures, 64)  # 2.0 ** 1024 would overflow
        # The jitter comes after the ceiling: pollers that have all reached it would else poll in step.
        wait = min(full, polling.max_backoff) * (1 - jitter / 2)
        wait = min(max(wait, retry_after_s or 0.0), polling.max_backoff)
        return type(self)(self.failures + 1, wait)


NO_BACKOFF = Backoff()
"""After a poll that went well."""


class WakeUp(Protocol):
    """A wait with a time-out that can be ended early; tests bring their own."""

    def set(self) -> None:
        """End the current wait, or the next one if there is none."""

    async def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``. Returns True, at once, if `set` was called."""


class LoopWakeUp:
    """A wake-up on the event loop's clock.

    Like an `asyncio.Event` with a time-out, but without a task and an exception for each of the waits that end by
    time, which are almost all of them. What is set within ``JOINED_S`` ends one wait.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0

    def set(self) -> None:
        """End the current wait within ``JOINED_S``, or the next one if there is none."""
        if self._waiting is not None and not self._is_set:
            self._end_within(JOINED_S)
        self._is_set = True

    async def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``. Returns True, at once, if `set` was called."""
        if not self._is_set and seconds > 0:
            self._waiting = asyncio.get_running_loop().create_future()
            self._end_within(seconds)
            try:
                await self._waiting
            finally:
                self._waiting = None
                self._stop_timer()
        was_set, self._is_set = self._is_set, False
        return was_set

    def _end_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        # Not the timer's ``when()``: uvloop gives a handle without one where less than a millisecond is left.
        if self._timer is not None and self._wakes_at <= at:
            return
        self._stop_timer()
        self._timer, self._wakes_at = loop.call_at(at, self._wake), at

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
