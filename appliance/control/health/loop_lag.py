"""How late the event loop runs its timers: the first sign of work that blocks it."""

import asyncio
from typing import Self

from appliance.control.health.health import Finding

INTERVAL_S = 0.5
MAX_LAG_S = 2.0
"""A loop that is later than this is not healthy."""


class LoopLagMonitor:
    """Measures how late a regular timer fires. An async context. ``lag_s`` is the lag of the latest timer."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.lag_s = 0.0
        self._interval_s = interval_s
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> Finding:
        """Whether the loop is on time: now, and at the latest timer."""
        late_s = max(self.lag_s, asyncio.get_running_loop().time() - self._due)
        return Finding(late_s <= MAX_LAG_S, f"the event loop is {max(0.0, late_s) * 1000:.0f} ms late")

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._interval_s
        self._timer = loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        self.lag_s = max(0.0, asyncio.get_running_loop().time() - self._due)
        self._arm()
