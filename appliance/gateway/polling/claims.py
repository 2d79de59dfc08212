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
    _claims: dict[str, Missing] = field(default_factory=dict)
    """By endpoint, its last one."""
    _replies: int = 0

    def confirm(self, hole: Missing, endpoint: str, endpoints: int) -> Missing | None:
        """Add the claim of an endpoint, of so many. Returns the hole that is believed now, if any: without a client
        where not all say alike whose message does not decode, since it may have been anybody's.
        """
        if hole.expected != self._expected:
            self._expected, self._claims, self._replies = hole.expected, {}, 0
        self._claims[endpoint] = hole
        self._replies += 1
        needed = endpoints if hole.is_inside else min(2, endpoints)
        others = self._claims.values()
        # The smallest hole of all that are claimed: whoever shows an earlier message refutes the others.
        is_agreed = self._replies > 1 and len(others) >= needed and hole.got <= min(other.got for other in others)
        if not is_agreed and self._replies < ENOUGH:
            return None
        is_one_client = is_agreed and all(other.client_key == hole.client_key for other in others)
        return hole if is_one_client else hole._replace(client_key=None)
