"""The clock of the replica, which tests can move."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class TimerHandle(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call; does nothing after it was made."""


class Clock(Protocol):
    """Nanoseconds since 1970, and calls at such times. ``ahead_ns`` is how far it was moved ahead of other clocks."""

    ahead_ns: int

    def now_ns(self) -> int:
        """The time."""

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> TimerHandle:
        """Call from the event loop as soon as the time has come. Needs a running loop."""

    def advance(self, nanoseconds: int) -> None:
        """Move ahead, and make the calls that are due by then. Raises ValueError for a negative number."""


class SystemClock:
    """The machine's clock; it can be moved ahead."""

    def __init__(self, *, ahead_ns: int = 0) -> None:
        self.ahead_ns = ahead_ns
        self._timers: set[_SystemTimer] = set()

    def now_ns(self) -> int:
        """The time."""
        return time.time_ns() + self.ahead_ns

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> TimerHandle:
        """Call from the event loop as soon as the time has come."""
        return _SystemTimer(time_ns, callback, self._timers, self.now_ns)

    def advance(self, nanoseconds: int) -> None:
        """Move ahead; calls that are due by then are made in the next turn of the event loop."""
        if nanoseconds < 0:
            raise ValueError("time does not run backwards")
        self.ahead_ns += nanoseconds
        for timer in list(self._timers):
            timer.set()


class _SystemTimer:
    """One call, by a timer of the event loop that is scheduled again when the clock is moved."""

    def __init__(
        self, time_ns: int, callback: Callable[[], object], timers: "set[_SystemTimer]", now_ns: Callable[[], int]
    ) -> None:
        self._time_ns = time_ns
        self._callback = callback
        self._timers = timers
        self._now_ns = now_ns
        self._handle: asyncio.TimerHandle | None = None
        timers.add(self)
        self.set()

    def set(self) -> None:
        """Schedule the call for the time that remains."""
        if self._handle is not None:
            self._handle.cancel()
        delay_s = max(0, self._time_ns - self._now_ns()) / 1e9
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def cancel(self) -> None:
        """Cancel the call; does nothing after it was made."""
        self._timers.discard(self)
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._timers.discard(self)
        self._callback()


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until it is moved. Other clocks are taken to move with it: ``ahead_ns`` is 0."""

    def __init__(self, now_ns: int) -> None:
        self.ahead_ns = 0
        self._now_ns = now_ns
        self._order = itertools.count()
        self._timers: list[tuple[int, int, _ManualTimer]] = []

    def now_ns(self) -> int:
        """The time."""
        return self._now_ns

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> TimerHandle:
        """Call within the ``advance`` that reaches the time; at once where it is not in the future."""
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (time_ns, next(self._order), timer))
        self._fire()
        return timer

    def advance(self, nanoseconds: int) -> None:
        """Move ahead and make the calls that are due by then, the earliest first, each at its own time."""
        if nanoseconds < 0:
            raise ValueError("time does not run backwards")
        end_ns = self._now_ns + nanoseconds
        # Stops at each timer: its callback may set the next one, as the maker of blocks does.
        while self._timers and self._timers[0][0] <= end_ns:
            self._now_ns = max(self._now_ns, self._timers[0][0])
            self._fire()
        self._now_ns = max(self._now_ns, end_ns)

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self._now_ns:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()


async def sleep(clock: Clock, nanoseconds: int) -> None:
    """Wait until the clock has moved that far; returns at once for 0."""
    if nanoseconds <= 0:
        return
    is_over = asyncio.Event()
    timer = clock.call_at(clock.now_ns() + nanoseconds, is_over.set)
    try:
        await is_over.wait()
    finally:
        timer.cancel()


async def finishes_within(clock: Clock, nanoseconds: int, work: Awaitable[object]) -> bool:
    """Wait for the work; False where the clock has moved that far before it is finished, and the work is cancelled."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            timer = clock.call_at(clock.now_ns() + nanoseconds, lambda: limit.reschedule(loop.time()))
            try:
                await work
            finally:
                timer.cancel()
    except TimeoutError:
        return False
    return True
