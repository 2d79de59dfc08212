"""The members of every canister: canister -> client key -> member. Synchronous, and the only register of clients."""

import heapq
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from appliance.crypto import Request
from appliance.errors import CanisterFull, ClientLeaving, DuplicateClient, EnvelopeExpired, ReplayedEnvelope
from appliance.gateway.recording.timeline import PollRecord
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

REMEMBERED = 200_000
"""Opening messages remembered against replay; beyond, those that expire first are forgotten."""


class Member(Protocol):
    """A client as the hub and the pollers use it."""

    @property
    def gateway(self) -> Principal:
        """The principal of the gateway in its session."""

    @property
    def is_open(self) -> bool:
        """Whether its session is open."""

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: PollRecord) -> bool:
        """Send a complete WebSocket frame: a polled message with this nonce, by this number among the client's own.
        Never raises and never waits. Returns whether it is delivered: it is not if the client had it before, if it is
        of another session, or if the client is closed, because one before it is missing or the client is too slow.
        """

    def begins_with(self, written_ns: int, certified_ns: int) -> bool:
        """Whether the first message of its session may have been written then, in a reply certified then (times of the
        IC, ns since 1970). If not, the session was opened elsewhere, and this client is closed. Never raises.
        """

    def fail(self, error: Exception) -> None:
        """Close its socket for this reason."""

    def forgotten(self, error: Exception) -> None:
        """Close its socket for this reason, and make no close call: its canister does not know it any more."""


_NOBODY: Mapping[bytes, Member] = MappingProxyType({})


class Hub:
    """The members of every canister, and the opening messages that were used.

    A client key is free, then a member's, then closing, then free again. It is closing while the canister may still
    hold the session of the client that left: a new opening could overtake the close call, which would then end the new
    session. ``gateway.close_calls`` has the time line.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._canisters: dict[bytes, dict[bytes, Member]] = {}
        self._closing: set[tuple[bytes, bytes]] = set()
        self._used = _UsedRequests(remembered)

    def __len__(self) -> int:
        return sum(map(len, self._canisters.values()))

    def canisters(self) -> list[Principal]:
        """The canisters that have members."""
        return [Principal(canister_id) for canister_id in self._canisters]

    def members(self, canister_id: bytes) -> Mapping[bytes, Member]:
        """The members of a canister by client key: a live view while there are any."""
        return self._canisters.get(canister_id, _NOBODY)

    def join(self, join: Join, member: Member, *, limit: int | None, now_ns: int, refuse_expired: bool = True) -> None:
        """Register a client whose opening message was verified. Without ``refuse_expired`` that may have expired.

        Raises EnvelopeExpired, ReplayedEnvelope, DuplicateClient, ClientLeaving or CanisterFull, and has changed
        nothing then: a client that comes too early or to a full canister may send the same opening message again.
        """
        if isinstance(join.opening, Request):
            # Once more: it was valid when its verification began, and is not remembered any longer than that.
            if refuse_expired and join.opening.ingress_expiry_ns < now_ns:
                raise EnvelopeExpired(join.opening.ingress_expiry_ns, now_ns)
            self._used.check(join.opening.request_id, now_ns)
        members = self.members(join.canister_id)
        if join.client_key in members:
            raise DuplicateClient(join.client)
        if (join.canister_id, join.client_key) in self._closing:
            raise ClientLeaving(join.client)
        if limit is not None and len(members) >= limit:
            raise CanisterFull(str(join.canister_id), limit)
        if isinstance(join.opening, Request):
            self._used.add(join.opening.request_id, join.opening.ingress_expiry_ns)
        self._canisters.setdefault(join.canister_id, {})[join.client_key] = member

    def remember(self, request_id: bytes, expires_ns: int) -> None:
        """Accept no opening message with this request id until it expires: an earlier process has used it."""
        self._used.add(request_id, expires_ns)

    def leave(self, join: Join) -> bool:
        """Take a client out; its key is closing until ``free``. Returns whether its canister has no members now."""
        members = self._canisters[join.canister_id]
        del members[join.client_key]
        self._closing.add((join.canister_id, join.client_key))
        if not members:  # with unlisted canisters allowed, anybody could otherwise grow this by naming canisters
            del self._canisters[join.canister_id]
        return not members

    def free(self, join: Join) -> None:
        """Free the key of a client that left: its close call is done."""
        self._closing.discard((join.canister_id, join.client_key))


class _UsedRequests:
    """Request ids until they expire; from then on the IC itself refuses them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def check(self, request_id: bytes, now_ns: int) -> None:
        while self._by_expiry and self._by_expiry[0][0] < now_ns:
            self._forget_first()
        if request_id in self._ids:
            raise ReplayedEnvelope(request_id.hex())

    def add(self, request_id: bytes, expiry_ns: int) -> None:
        if len(self._ids) >= self._limit:
            self._forget_first()
        self._ids.add(request_id)
        heapq.heappush(self._by_expiry, (expiry_ns, request_id))

    def _forget_first(self) -> None:
        self._ids.discard(heapq.heappop(self._by_expiry)[1])
