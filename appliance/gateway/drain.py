"""Closes many connections at a pace, so that their clients do not all reconnect at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["waiting", "closing", "done", "cancelled"]


class Closable(Protocol):
    """A connection."""

    def fail(self, error: Exception) -> None:
        """Close it for this reason. Never raises."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """``rate`` is closes per second, ``grace_s`` the time before the first, ``deadline_s`` the time for all: a rate
    that would take longer is raised.
    """

    rate: float
    grace_s: float = 0.0
    deadline_s: float = 20.0

    def interval_s(self, left: int, left_s: float) -> float:
        """The mean time between two closes with ``left`` connections and ``left_s`` seconds left."""
        return min(1 / self.rate, max(left_s, 0.0) / left) if left else 0.0


class Drain:
    """One drain and its progress. ``run`` performs it; ``cancel`` keeps the connections that are not closed yet.

    ``reason`` makes the error to close a connection with. ``total`` is the number of connections at the first close.
    """

    def __init__(
        self,
        who: Callable[[], Iterable[Closable]],
        reason: Callable[[], Exception],
        pacing: Pacing,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``clock`` is monotonic, in seconds; the loop's where none is given."""
        self.pacing = pacing
        self.state: State = "waiting"
        self.total = 0
        self.closed = 0
        self._who = who
        self._reason = reason
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self._jitter = jitter
        self.started_at = self._clock()
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    @property
    def left(self) -> int:
        """How many are not closed yet."""
        return max(0, self.total - self.closed)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be closed."""
        return self.state in ("done", "cancelled")

    @property
    def eta_s(self) -> float:
        """Seconds until the last one is closed, if none leaves by itself."""
        if self.is_over:
            return 0.0
        until_first = self.started_at + self.pacing.grace_s - self._clock() if self.state == "waiting" else 0.0
        return max(0.0, until_first) + self.left * self._interval_s(self.left)

    def cancel(self) -> None:
        """Close no more, and end ``run``."""
        if not self.is_over:
            self.state = "cancelled"
            self._is_over.set()
            if self._task is not None:
                self._task.cancel()

    async def wait(self) -> None:
        """Wait until nothing more will be closed."""
        await self._is_over.wait()

    async def run(self) -> None:
        """Wait for the grace, then close one after another, the longest connected first."""
        self._task = asyncio.current_task()
        try:
            if not self.is_over:  # it may be cancelled before it begins
                await self._close_all()
        except asyncio.CancelledError:
            # The stop of the gateway cancels this task, too, and must see it; only that of `cancel` ends here.
            if self.state != "cancelled":
                raise
        finally:
            self._is_over.set()

    async def _close_all(self) -> None:
        await self._sleep(self.pacing.grace_s)
        waiting = list(self._who())  # after the grace: those that left by themselves are not waited for
        self.total = len(waiting)
        if self.state == "waiting":
            self.state = "closing"
        while waiting and self.state == "closing":
            interval_s = self._interval_s(len(waiting))
            waiting.pop(0).fail(self._reason())
            self.closed += 1
            if waiting:  # jitter of mean 1: clients with the same back-off would return in step otherwise
                await self._sleep(interval_s * (0.5 + self._jitter()))
        if self.state == "closing":
            self.state = "done"

    def _interval_s(self, left: int) -> float:
        return self.pacing.interval_s(left, self.started_at + self.pacing.deadline_s - self._clock())
