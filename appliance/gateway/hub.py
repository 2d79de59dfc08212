"""Who is here: canister -> client key -> member. Synchronous, and the only register of clients."""

import heapq
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from appliance.crypto import Request
from appliance.errors import CanisterFull, ClientLeaving, DuplicateClient, ReplayedEnvelope
from appliance.gateway.recording.timeline import PollRecord
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

REMEMBERED = 200_000
"""Opening messages remembered against replay; beyond, those that expire first are forgotten."""


class Member(Protocol):
    """A client as the hub and the pollers know it."""

    @property
    def is_open(self) -> bool:
        """Whether its session is open."""

    def deliver(self, frame: bytes, nonce: int, polled: PollRecord) -> None:
        """Send a complete WebSocket frame, a message with this nonce that a poll brought. Never raises and never
        waits.
        """

    def fail(self, error: Exception) -> None:
        """Close its socket for this reason."""


_NOBODY: Mapping[bytes, Member] = MappingProxyType({})


class Hub:
    """The members of every canister, and the opening messages that were used."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._canisters: dict[bytes, dict[bytes, Member]] = {}
        self._leaving: set[tuple[bytes, bytes]] = set()
        self._used = _UsedRequests(remembered)

    def __len__(self) -> int:
        return sum(map(len, self._canisters.values()))

    def canisters(self) -> list[Principal]:
        """Those that have members."""
        return [Principal(canister_id) for canister_id in self._canisters]

    def members(self, canister_id: bytes) -> Mapping[bytes, Member]:
        """The members of a canister by client key; changes with the hub while there are any."""
        return self._canisters.get(canister_id, _NOBODY)

    def join(self, join: Join, member: Member, *, limit: int | None, now_ns: int) -> None:
        """Register a client whose opening message was verified.

        Raises ReplayedEnvelope, DuplicateClient, ClientLeaving or CanisterFull, and has changed nothing then.
        """
        if isinstance(join.opening, Request):
            self._used.check(join.opening.request_id, now_ns)
        members = self.members(join.canister_id)
        if join.client_key in members:
            raise DuplicateClient(join.client)
        if (join.canister_id, join.client_key) in self._leaving:
            raise ClientLeaving(join.client)
        if limit is not None and len(members) >= limit:
            raise CanisterFull(str(join.canister_id), limit)
        if isinstance(join.opening, Request):
            self._used.add(join.opening.request_id, join.opening.ingress_expiry_ns)
        self._canisters.setdefault(join.canister_id, {})[join.client_key] = member

    def leave(self, join: Join) -> bool:
        """Take a client out. Its key stays taken until ``forget``. Returns whether its canister has nobody now."""
        members = self._canisters[join.canister_id]
        del members[join.client_key]
        self._leaving.add((join.canister_id, join.client_key))
        if not members:
            del self._canisters[join.canister_id]
        return not members

    def forget(self, join: Join) -> None:
        """The canister knows that the client left: its key is free."""
        self._leaving.discard((join.canister_id, join.client_key))


class _UsedRequests:
    """Request ids until they expire; the IC itself refuses them from then on."""

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
