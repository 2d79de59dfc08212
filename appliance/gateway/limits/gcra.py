"""The generic cell rate algorithm (GCRA) for many keys, in whole numbers.

Nothing here waits or reads a clock. For an event above the limit the exact time is returned until it would be allowed.

GCRA keeps one number for a key where a token bucket keeps two and a sliding window a list. Whole numbers, because the
delay is a promise to the client: with floating point a client that waits exactly that long could be refused again.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

Mode = Literal["off", "shadow", "enforce"]
Decision = Literal["allowed", "limited"]
Key = TypeVar("Key", bound=Hashable)

REMEMBERED = 100_000
"""Keys whose past counts; beyond, keys that have used up nothing are forgotten first."""
MAX_THROTTLED = 1000
"""Keys above the limit that are remembered for reports."""
EVICTION_PROBES = 8
"""How many of the oldest keys to try when one must be forgotten: a search through all would stop the loop."""

_SECOND_NS = 10**9
UNIT = 3_600_000 * _SECOND_NS
"""One event on the clock of a limiter. With this factor a nanosecond is a whole number for every rate that is a
multiple of a thousandth of an event an hour; other rates are rounded to the nearest of these."""


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
        """Whether events above the limit are refused, only counted, or not counted at all."""


class ThrottledKey(NamedTuple, Generic[Key]):
    """A key above the limit, the time until its next event is allowed, and how many of its events were limited."""

    key: Key
    delay_ns: int
    times: int


class Limiter(Generic[Key]):
    """One limit for many keys. ``now_ns`` is the same monotonic clock everywhere.

    A key has the time at which it will have used up nothing (GCRA's theoretical arrival time), on a clock of its own
    that runs as fast as events are allowed. Another rate changes the speed of this clock and nothing else, so a reload
    keeps what was used up without a walk through all keys.
    """

    def __init__(self, limit: RateLimit, *, now_ns: int, remembered: int = REMEMBERED) -> None:
        self._counts: dict[Mode, list[int]] = {}
        self.forgotten = 0
        """Keys that were forgotten although they had used up something, because there were too many keys."""
        self.is_shared = False
        """Whether all nodes of a cluster count together."""
        self._free_at: OrderedDict[Key, int] = OrderedDict()
        self._throttled: OrderedDict[Key, int] = OrderedDict()
        self._remembered = remembered
        self._then, self._since_ns, self._speed = 0, now_ns, 0
        self._most = 0
        self.follow(limit, now_ns=now_ns)

    def __len__(self) -> int:
        return len(self._free_at)

    @property
    def decisions(self) -> dict[tuple[Decision, Mode], int]:
        """Counts of decisions by mode."""
        pairs: tuple[tuple[Decision, int], ...] = (("allowed", 0), ("limited", 1))
        return {(name, mode): count[at] for mode, count in self._counts.items() if mode != "off" for name, at in pairs}

    def follow(self, limit: RateLimit, *, now_ns: int) -> None:
        """Apply another limit from now on. A change of mode keeps what is remembered, but ``off`` remembers nothing."""
        self._then, self._since_ns = self._clock(now_ns), now_ns
        self.limit = limit
        self._speed = max(1, round(limit.rate * UNIT / _SECOND_NS))
        self._slack = (limit.burst - 1) * UNIT
        self._count = self._counts.setdefault(limit.mode, [0, 0])
        self.is_off = limit.mode == "off"
        # Limits of a single connection have no scope: a connection is at one node.
        self.is_shared = getattr(limit, "scope", "node") == "cluster"
        if not self.is_shared:
            self._most = 0
        if limit.mode == "off":
            self._free_at.clear()
            self._throttled.clear()

    def take(self, key: Key, now_ns: int, events: int = 1) -> int:
        """Count events and return 0 if they are allowed; otherwise return the nanoseconds until they would be.

        Refused events are not counted: a client that keeps trying would otherwise never be allowed again. More events
        than ``burst`` together count as so many. Must not be called in mode ``off``.
        """
        events = min(events, self.limit.burst)
        more = (events - 1) * UNIT
        now = self._then + (now_ns - self._since_ns) * self._speed
        free_at = self._free_at.get(key)
        if free_at is None:
            free_at = now
            if len(self._free_at) >= self._remembered:
                self._forget_one(now)
        elif free_at <= now:
            free_at = now
        elif free_at + more - now > self._slack:
            return self._limit(key, free_at, now, events)
        self._free_at[key] = free_at + more + UNIT
        self._count[0] += events
        return 0

    def learn(self, key: Key, used: float, *, most: float, now_ns: int) -> None:
        """A key has used up so many events at all nodes, but no more than ``most``; or more, if that is known here."""
        if self.is_off or not self.is_shared:
            return
        self._most = round(most * UNIT)
        now = self._clock(now_ns)
        free_at = now + min(round(used * UNIT), self._most)
        before = self._free_at.get(key)
        if before is None:
            if len(self._free_at) >= self._remembered:
                self._forget_one(now)
            self._free_at[key] = free_at
        elif before < free_at:
            self._free_at[key] = free_at

    def forget(self, key: Key) -> None:
        """Forget a key that will not come again."""
        self._free_at.pop(key, None)
        self._throttled.pop(key, None)

    def times(self, key: Key) -> int:
        """How many events of a key were limited, as far as remembered."""
        return self._throttled.get(key, 0)

    def waiting(self, now_ns: int) -> Iterator[ThrottledKey[Key]]:
        """Keys that were limited lately and would still be."""
        now = self._clock(now_ns)
        for key, times in self._throttled.items():
            delay_ns = self._delay_ns(self._free_at.get(key, now), now)
            if delay_ns > 0:
                yield ThrottledKey(key, delay_ns, times)

    def hand_over(self, other: "Limiter[Key]", belongs: Callable[[Key], bool], *, now_ns: int) -> None:
        """Move the keys for which ``belongs`` holds to another limiter, with what they have used up."""
        now, there = self._clock(now_ns), other._clock(now_ns)
        for key in [key for key in self._free_at if belongs(key)]:
            used = self._free_at.pop(key) - now
            if used > 0:
                other._free_at[key] = there + used

    def _limit(self, key: Key, free_at: int, now: int, events: int) -> int:
        self._count[1] += events
        self._throttled[key] = self._throttled.pop(key, 0) + 1
        if len(self._throttled) > MAX_THROTTLED:
            self._throttled.popitem(last=False)
        # After a reload with a smaller burst a key may have used up more than the new burst: it waits for that at most.
        # It may also have used up a burst at each node that counts with this one, all at the same moment.
        self._free_at[key] = free_at = min(free_at, now + max(self._most, self._slack + UNIT))
        return self._delay_ns(free_at, now, events)

    def _delay_ns(self, free_at: int, now: int, events: int = 1) -> int:
        """The time until a key's next events are allowed, rounded up: then they are, and a nanosecond before not."""
        return -(-(free_at + (events - 1) * UNIT - now - self._slack) // self._speed)

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
