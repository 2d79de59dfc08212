"""What the endpoints claim is missing from a queue, until enough of them agree."""

from dataclasses import dataclass, field

from appliance.gateway.polling.queue_position import Missing

ENOUGH = 16
"""Replies with the same hole after which it is believed although an endpoint has not confirmed it: one that is down for
long must not stop the queue."""


@dataclass(slots=True)
class Claims:
    """The claims about one hole of one queue.

    A hole inside a reply comes from no honest endpoint while the canister has the messages, so all endpoints must
    confirm it. A reply that begins later than asked is what a canister answers that has deleted old messages: two
    endpoints are enough. Where there is one endpoint, the same must answer twice: it may stand for many replicas.
    """

    _expected: int = -1
    _got: dict[str, int] = field(default_factory=dict)
    """By endpoint, where its last reply went on."""
    _replies: int = 0

    def confirm(self, hole: Missing, endpoint: str, endpoints: int) -> bool:
        """Add the claim of an endpoint, of so many. Returns whether the hole is believed now."""
        if hole.expected != self._expected:
            self._expected, self._got, self._replies = hole.expected, {}, 0
        self._got[endpoint] = hole.got
        self._replies += 1
        needed = endpoints if hole.is_inside else min(2, endpoints)
        is_agreed = self._replies > 1 and len(self._got) >= needed and hole.got <= min(self._got.values())
        return is_agreed or self._replies >= ENOUGH
