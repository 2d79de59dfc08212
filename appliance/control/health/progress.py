"""Whether pollers make progress: a loop that is on time says nothing about what runs, or waits for ever, in it."""

import asyncio
from collections.abc import Callable

from appliance.control.health.health import Finding
from appliance.gateway.gateway import Gateway

GRACE_S = 60.0
"""Beyond the longest wait of the pollers, before they count as stuck: a restart closes every session."""


class PollProgress:
    """Watches the number of polls. A poll that fails is progress too: the IC may be out of reach for hours."""

    def __init__(self, gateway: Gateway, clock: Callable[[], float] | None = None) -> None:
        """``clock`` is monotonic, in seconds; that of the event loop if absent."""
        self._gateway = gateway
        self._clock = clock or asyncio.get_running_loop().time
        self._polls = -1
        self._since = self._clock()

    def check(self) -> Finding:
        """Whether any poller has polled within the time in which one of them had to. Must be called regularly."""
        now, polls = self._clock(), self._gateway.counters.polls
        pollers = [poller for poller in self._gateway.pollers.values() if not poller.is_paused]
        if polls != self._polls or not pollers:
            self._polls, self._since = polls, now
        still_s = now - self._since
        # Any of them will do: the budget makes them wait for each other, but never all of them at once.
        limit_s = GRACE_S + max((each.facts.wait_s + each.pace.polling.timeout for each in pollers), default=0.0)
        if still_s <= limit_s:
            return Finding(True, "polls are made" if pollers else "nothing is polled")
        return Finding(False, f"no poll has been made for {still_s:.0f} s; {len(pollers)} canisters wait for one")
