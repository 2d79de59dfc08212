"""Where the replica takes the time from, so that tests can move it."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not make the call; harmless after it was made."""


class Clock(Protocol):
    """Nanoseconds since 1970, and calls at such times."""

    def now_ns(self) -> int:
        """The time."""

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> Alarm:
        """Call from the event loop as soon as the time has come. Needs a running loop."""


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """The time."""
        return time.time_ns()

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> Alarm:
        """Call from the event loop as soon as the time has come."""
        delay_s = max(0, time_ns - self.now_ns()) / 1e9
        return asyncio.get_running_loop().call_later(delay_s, callback)


class _ManualAlarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self._order = itertools.count()
        self._alarms: list[tuple[int, int, _ManualAlarm]] = []

    def now_ns(self) -> int:
        """The time."""
        return self._now_ns

    def call_at(self, time_ns: int, callback: Callable[[], object]) -> Alarm:
        """Call within the ``advance`` that reaches the time; at once where it is not in the future."""
        alarm = _ManualAlarm(callback)
        heapq.heappush(self._alarms, (time_ns, next(self._order), alarm))
        self._ring()
        return alarm

    def advance(self, nanoseconds: int) -> None:
        """Move on and make the calls that are due by then, the earliest first."""
        if nanoseconds < 0:
            raise ValueError("time does not run backwards")
        self._now_ns += nanoseconds
        self._ring()

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self._now_ns:
            callback = heapq.heappop(self._alarms)[2].callback
            if callback is not None:
                callback()
