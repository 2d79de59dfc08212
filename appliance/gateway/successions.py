"""The newest session of each principal: canisters of v1 and v2 forget the others without a word."""

from typing import Protocol

from appliance.errors import SessionReplaced
from appliance.ic.principal import Principal
from appliance.protocol.events import Join


class Holder(Protocol):
    """A client as this module uses it. ``first_delivered`` is the nonce of its first message."""

    first_delivered: int

    def replace(self, error: Exception) -> None:
        """Close it for this reason, and make no close call: the canister does not know it any more."""


class Successions:
    """Which client holds the session of a principal at a canister.

    A canister writes the first message of a session when it accepts the opening call, so the nonces of the first
    messages are the order in which it did, whatever the order of the replies.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[Principal, bytes], Holder] = {}

    def opened(self, join: Join, client: Holder) -> None:
        """The session of a client is open. Closes whichever of two sessions of its principal the canister forgot."""
        if not join.principal:
            return
        place = (join.canister_id, join.principal)
        other = self._holders.get(place)
        if other is not None and other.first_delivered > client.first_delivered:
            other, client = client, other
        self._holders[place] = client
        if other is not None:
            other.replace(SessionReplaced(str(Principal(join.principal))))

    def left(self, join: Join, client: Holder) -> None:
        """A client is gone."""
        place = (join.canister_id, join.principal)
        if self._holders.get(place) is client:
            del self._holders[place]
