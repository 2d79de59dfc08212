"""Levels at Redis. What goes wrong there is raised as it comes; ``redis_engine`` makes EngineAway of it."""

import math
from collections.abc import Sequence

from redis.asyncio import Redis

from appliance.cluster.limits.levels import Spent
from appliance.cluster.limits.scripts import SPEND


class RedisLevels:
    """Implements ``levels.Levels`` but for its errors: raises also ValueError and TypeError for what is no answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._prefix = f"{prefix}rate:".encode()
        self._spend = redis.register_script(SPEND)

    async def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        """See Levels."""
        args: list[str | int] = []
        for each in spent:
            args += (repr(each.rate), each.events)
        levels = [float(each) for each in await self._spend([self._prefix + each.key for each in spent], args)]
        if len(levels) != len(spent) or not all(math.isfinite(each) and each >= 0 for each in levels):
            raise ValueError("its answer is not about what it was told")
        return levels
