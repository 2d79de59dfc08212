"""The newest session of each principal: canisters of v1 and v2 forget the others without a word."""

import asyncio
from collections.abc import Collection
from typing import Protocol

from appliance.errors import SessionReplaced
from appliance.ic.principal import Principal
from appliance.protocol.events import Join


class Holder(Protocol):
    """A client as this module uses it."""

    def forgotten(self, error: Exception) -> None:
        """Close it for this reason, and make no close call: the canister does not know it any more."""


class Successions:
    """Which client holds the session of a principal at a canister.

    A canister writes the first message of a session when it accepts the opening call, and messages are delivered in the
    order of the queue. So sessions open in the order in which the canister accepted them, whatever the order of the
    replies. Nonces say less: they begin anew with the queue, and each identity of the gateway has its own.

    While one opens nobody knows whose session the canister has. That is known once it is open, or has left.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[Principal, bytes], Holder] = {}
        self._opening: dict[tuple[Principal, bytes], dict[Holder, asyncio.Future[bool]]] = {}

    def begin(self, join: Join, client: Holder) -> None:
        """The opening message of a client leaves."""
        if join.after:
            opening = self._opening.setdefault((join.canister_id, join.after), {})
            opening[client] = asyncio.get_running_loop().create_future()

    def others(self, join: Join) -> Collection["asyncio.Future[bool]"]:
        """Of each client with the same ``after`` that opens: whether it was open in the end."""
        return tuple(self._opening.get((join.canister_id, join.after), {}).values())

    def has_other(self, join: Join) -> bool:
        """Whether another client with the same ``after`` has a session that is open, or opens."""
        place = (join.canister_id, join.after)
        return bool(join.after) and (place in self._opening or place in self._holders)

    def opened(self, join: Join, client: Holder) -> None:
        """The session of a client has opened. Closes the one of its principal that was open before."""
        self._end(join, client, is_open=True)
        if not join.principal:
            return
        place = (join.canister_id, join.principal)
        before = self._holders.get(place)
        self._holders[place] = client
        if before is not None:
            before.forgotten(SessionReplaced(str(Principal(join.principal))))

    def left(self, join: Join, client: Holder) -> None:
        """A client is gone."""
        self._end(join, client, is_open=False)
        place = (join.canister_id, join.principal)
        if self._holders.get(place) is client:
            del self._holders[place]

    def _end(self, join: Join, client: Holder, *, is_open: bool) -> None:
        opening = self._opening.get((join.canister_id, join.after), {})
        if (end := opening.pop(client, None)) is not None:
            end.set_result(is_open)
            if not opening:
                del self._opening[join.canister_id, join.after]
