"""When messages are due, fixed before the first is sent.

The schedule is open: it does not wait for replies, and latency counts from the due time. A client that waits for each
reply before the next message would send less while the gateway is slow, and leave out the moments that matter
("coordinated omission").
"""

import random
import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import Self

_LEAD_NS = 50_000_000
"""From making a schedule to its first message: enough to hand it to another process."""


@dataclass(frozen=True)
class Schedule:
    """Due times in ns of the monotonic clock, ascending."""

    due_ns: tuple[int, ...]

    @classmethod
    def even(cls, rate: float, seconds: float, *, start_ns: int | None = None) -> Self:
        """``rate`` a second for so long, at equal intervals."""
        start_ns = _soon() if start_ns is None else start_ns
        return cls(tuple(start_ns + round(number * 1e9 / rate) for number in range(_count(rate, seconds))))

    @classmethod
    def jittered(cls, rate: float, seconds: float, seed: int, *, start_ns: int | None = None) -> Self:
        """Like ``even``, each delayed by a random part of the interval: equal intervals could keep step with the
        gateway's polls and measure one phase of them only."""
        chance = random.Random(seed)  # noqa: S311 - no secrets
        even = cls.even(rate, seconds, start_ns=start_ns).due_ns
        return cls(tuple(due + round(chance.random() * 1e9 / rate) for due in even))

    def __len__(self) -> int:
        return len(self.due_ns)

    def due_by(self, now_ns: int) -> int:
        """Return how many are due by now."""
        return bisect_right(self.due_ns, now_ns)

    def left_s(self, now_ns: int) -> float:
        """Return the seconds until the last is due."""
        return max(0.0, (self.due_ns[-1] - now_ns) / 1e9)


def _soon() -> int:
    return time.monotonic_ns() + _LEAD_NS


def _count(rate: float, seconds: float) -> int:
    return max(1, round(rate * seconds))
