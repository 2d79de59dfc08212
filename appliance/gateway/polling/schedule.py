"""How long a poller waits: a value that follows from what the last poll brought."""

from dataclasses import dataclass
from typing import Self

from appliance.config.schema import Polling

SLOWEST = 10
"""Errors slow polling down to this many times ``max_interval``, no further."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``wait_s`` is the time until the next poll, ``failures`` how many polls in a row failed."""

    polling: Polling
    wait_s: float = 0.0
    failures: int = 0

    def after(self, *, polled: int, drained: bool) -> Self:
        """A reply with that many new messages; ``drained`` if it reached the end of the queue.

        There is no wait while the queue has more. A reply that claims more but brings nothing new counts as drained,
        lest a canister make the poller spin.
        """
        if polled:
            return self._with(0.0 if not drained else self.polling.min_interval)
        doubled = max(self.polling.min_interval, 2 * self.wait_s)
        return self._with(min(doubled, self.polling.max_interval))

    def nudged(self) -> Self:
        """Something was sent to the canister: whatever it answers is there now."""
        return self._with(0.0)

    def failed(self, *, jitter: float, retry_after_s: float | None = None) -> Self:
        """The poll failed: twice the wait for each failure in a row, shortened by up to half by ``jitter`` of 0 to 1,
        and not sooner than the endpoint asked for.
        """
        ceiling = SLOWEST * self.polling.max_interval
        full = self.polling.min_interval * 2.0 ** min(self.failures, 64)
        wait = min(full, ceiling) * (1 - jitter / 2)
        wait = min(max(wait, retry_after_s or 0.0), ceiling)
        return type(self)(self.polling, wait, self.failures + 1)

    def _with(self, wait_s: float) -> Self:
        return type(self)(self.polling, wait_s)
