"""Levels in memory, as the script at Redis is meant. Times are ms of the engine's clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.cluster.limits.levels import Spent


@dataclass(slots=True)
class LevelBoard:
    """What an engine holds of rates, ``limit`` keys at most. Above, the one that was used longest ago is forgotten:
    what it has used up is still known to the nodes that allowed it.
    """

    limit: int
    _levels: dict[bytes, tuple[float, int, float]] = field(default_factory=dict)
    """By key: the events that were used up, when, and when all of them are given back. The latest use is the last."""

    def __len__(self) -> int:
        return len(self._levels)

    def spend(self, spent: Sequence[Spent], now_ms: int) -> list[float]:
        """See ``Levels.spend``."""
        return [self._spend(each, now_ms) for each in spent]

    def sweep(self, now_ms: int) -> None:
        """Forget the keys that have used up nothing any more."""
        self._levels = {key: value for key, value in self._levels.items() if value[2] > now_ms}

    def _spend(self, spent: Spent, now_ms: int) -> float:
        level, at_ms, _ = self._levels.pop(spent.key, (0.0, now_ms, 0))
        level = max(0.0, level - max(0, now_ms - at_ms) * spent.rate / 1000) + spent.events
        if len(self._levels) >= self.limit:
            del self._levels[next(iter(self._levels))]
        self._levels[spent.key] = level, now_ms, now_ms + 1000 * level / spent.rate
        return level
