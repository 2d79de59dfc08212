"""The generic cell rate algorithm (GCRA) for many keys, in whole numbers: how often somebody may do something.

Nothing here waits or looks at a clock. Whoever is over the limit is told how long until he would not be, exactly.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

Mode = Literal["off", "shadow", "enforce"]
Decision = Literal["allowed", "limited"]
Key = TypeVar("Key", bound=Hashable)

REMEMBERED = 100_000
"""Keys whose past counts; beyond, those are forgotten first that have used up nothing."""
MAX_THROTTLED = 1000
"""Keys that are remembered for having been limited."""
EVICTION_PROBES = 8
"""Keys that are looked at for one that can be forgotten without a loss."""

_SECOND_NS = 10**9
UNIT = 3_600_000 * _SECOND_NS
"""One event on the clock of a limiter: thus a nanosecond is a whole number for every rate that is a multiple of a
thousandth of an event an hour, and others are taken as the nearest one."""


class RateLimit(Protocol):
    """A limit as it is configured: ``config.schema.RateLimit``."""

    @property
    def rate(self) -> float:
        """Events a second, in the long run."""

    @property
    def burst(self) -> int:
        """Events at once, 1 or more."""

    @property
    def mode(self) -> Mode:
        """Whether what is over the limit is turned away, only counted, or not looked at."""


class ThrottledKey(NamedTuple, Generic[Key]):
    """Somebody who is over the limit and has to wait that long; he was told so ``times`` times."""

    key: Key
    delay_ns: int
    times: int


class Limiter(Generic[Key]):
    """One limit for many keys. ``now_ns`` is the same monotonic clock everywhere.

    A key has a time at which it has used up nothing any more, on a clock that runs as fast as events are allowed.
    Another rate changes the speed of this clock and nothing else: what was used up stays used up.
    """

    def __init__(self, limit: RateLimit, *, now_ns: int, remembered: int = REMEMBERED) -> None:
        self._counts: dict[Mode, list[int]] = {}
        self.forgotten = 0
        """Keys that were forgotten although they had used up something, because there were too many."""
        self._free_at: OrderedDict[Key, int] = OrderedDict()
        self._noted: OrderedDict[Key, int] = OrderedDict()
        self._remembered = remembered
        self._then, self._since_ns, self._speed = 0, now_ns, 0
        self.follow(limit, now_ns=now_ns)

    def __len__(self) -> int:
        return len(self._free_at)

    @property
    def decisions(self) -> dict[tuple[Decision, Mode], int]:
        """How often it was decided how, in which mode."""
        pairs: tuple[tuple[Decision, int], ...] = (("allowed", 0), ("limited", 1))
        return {(name, mode): count[at] for mode, count in self._counts.items() if mode != "off" for name, at in pairs}

    def follow(self, limit: RateLimit, *, now_ns: int) -> None:
        """Apply other limit from now on. Modes change nothing of what is remembered, but ``off`` remembers nothing."""
        self._then, self._since_ns = self._clock(now_ns), now_ns
        self.limit = limit
        self._speed = max(1, round(limit.rate * UNIT / _SECOND_NS))
        self._slack = (limit.burst - 1) * UNIT
        self._count = self._counts.setdefault(limit.mode, [0, 0])
        self.is_off = limit.mode == "off"
        if limit.mode == "off":
            self._free_at.clear()
            self._noted.clear()

    def take(self, key: Key, now_ns: int) -> int:
        """Somebody wants to do something. Returns 0 if he may, which counts then, else the nanoseconds until he may.

        Not to be asked with mode ``off``.
        """
        now = self._then + (now_ns - self._since_ns) * self._speed
        free_at = self._free_at.get(key)
        if free_at is None:
            free_at = now
            if len(self._free_at) >= self._remembered:
                self._forget_one(now)
        elif free_at <= now:
            free_at = now
        elif free_at - now > self._slack:
            return self._limit(key, free_at, now)
        self._free_at[key] = free_at + UNIT
        self._count[0] += 1
        return 0

    def times(self, key: Key) -> int:
        """How often somebody was limited, as far as it is remembered."""
        return self._noted.get(key, 0)

    def waiting(self, now_ns: int) -> Iterator[ThrottledKey[Key]]:
        """Those who were limited lately and would still be."""
        now = self._clock(now_ns)
        for key, times in self._noted.items():
            delay_ns = self._delay_ns(self._free_at.get(key, now), now)
            if delay_ns > 0:
                yield ThrottledKey(key, delay_ns, times)

    def hand_over(self, other: "Limiter[Key]", belongs: Callable[[Key], bool], *, now_ns: int) -> None:
        """What the keys for which ``belongs`` holds have used up counts at another limiter from now on."""
        now, there = self._clock(now_ns), other._clock(now_ns)
        for key in [key for key in self._free_at if belongs(key)]:
            used = self._free_at.pop(key) - now
            if used > 0:
                other._free_at[key] = there + used

    def _limit(self, key: Key, free_at: int, now: int) -> int:
        self._count[1] += 1
        self._noted[key] = self._noted.pop(key, 0) + 1
        if len(self._noted) > MAX_THROTTLED:
            self._noted.popitem(last=False)
        # with a smaller burst than before, more may be used up than there is now
        self._free_at[key] = free_at = min(free_at, now + self._slack + UNIT)
        return self._delay_ns(free_at, now)

    def _delay_ns(self, free_at: int, now: int) -> int:
        """Until the key may again, rounded up: at that time it may, a nanosecond before it may not."""
        return -(-(free_at - now - self._slack) // self._speed)

    def _clock(self, now_ns: int) -> int:
        return self._then + (now_ns - self._since_ns) * self._speed

    def _forget_one(self, now: int) -> None:
        for _ in range(EVICTION_PROBES):
            key, free_at = self._free_at.popitem(last=False)
            if free_at <= now:
                return
            self._free_at[key] = free_at
        self._free_at.popitem(last=False)
        self.forgotten += 1
