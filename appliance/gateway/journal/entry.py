"""What the journal keeps of a client."""

from dataclasses import dataclass

from appliance.crypto import Request
from appliance.gateway.nodes import Known
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Join

MEMORY_NS = {"v1": 12 * 60 * 10**9, "v2": 3600 * 10**9}
"""Time from a client's last sign of life until its canister has certainly forgotten it, by generation: about ten times
the CDK's default (an acknowledgement each 60 or 300 s, and 10 or 60 s to answer it), which canisters may change. After
that a close call can only harm whoever uses the principal meanwhile. Canisters of v0 never forget a client."""
MAX_EXPIRY_NS = 2**63 - 1
"""The largest integer of SQLite. Where envelopes are not verified, an expiry may be anything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A client that a canister may know: who it is, and the argument (Candid) of the ``ws_close`` call for it.

    ``principal`` is empty in generation v0. ``client`` is the client as text. ``left_ns`` is when it left without being
    reported (ns since 1970), None while it is here. ``node`` and ``incarnation`` name the process of the cluster that
    had it, where that is another node: the journal has no such entries.
    """

    canister_id: Principal
    client_key: bytes
    generation: str
    client: str
    principal: bytes
    close_arg: bytes
    left_ns: int | None = None
    node: str = ""
    incarnation: str = ""

    @property
    def group(self) -> tuple[bytes, bytes]:
        """The canister and what it may know only one client of: a principal, or the key of v0."""
        return self.canister_id, self.principal or self.client_key

    def known(self, gateway: Principal) -> Known:
        """As the cluster knows it, with the principal of the gateway in its session."""
        return Known(
            gateway,
            self.canister_id,
            self.generation,
            self.client_key,
            self.client,
            self.principal,
            self.close_arg,
            self.node,
            self.incarnation,
        )


@dataclass(frozen=True, slots=True)
class UsedOpening:
    """An opening message that was used: until it expires (ns since 1970) it must not be used again."""

    request_id: bytes
    expires_ns: int


def entry_of(join: Join, close_call: Call) -> Entry:
    """The entry of a client that is about to open its session."""
    return Entry(join.canister_id, join.client_key, join.generation, join.client, join.principal, close_call.arg)


def entry_of_known(known: Known) -> Entry:
    """The entry of a client that another node had."""
    return Entry(
        known.canister_id,
        known.client_key,
        known.generation,
        known.client,
        known.principal,
        known.close_arg,
        node=known.node,
        incarnation=known.incarnation,
    )


def opening_of(join: Join) -> UsedOpening | None:
    """What must be remembered of its opening message; None for one that the gateway signs (v0)."""
    if not isinstance(join.opening, Request):
        return None
    return UsedOpening(join.opening.request_id, min(join.opening.ingress_expiry_ns, MAX_EXPIRY_NS))


def group_of(join: Join) -> tuple[bytes, bytes]:
    """As ``Entry.group``."""
    return join.canister_id, join.principal or join.client_key
