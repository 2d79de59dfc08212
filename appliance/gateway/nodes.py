"""The other nodes of the gateway, as this one uses them; ``appliance.cluster.node.Node`` implements it."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from appliance.crypto import Request
from appliance.errors import GatewayError
from appliance.gateway.sharing import SharedQueue, SharingPoller, unshared
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

Holding = Literal["free", "taken", "unknown"]
"""Whether the canister may be told that a client left: ``taken`` where another node has a session of it by now, and
``unknown`` where nobody can say."""

Told = Literal["no", "yes", "maybe"]
"""Whether a canister was told, by another node, that a client of this node left: ``maybe`` where a session of the same
key has begun since then."""


class Place(NamedTuple):
    """What a canister may know only one client of, and so one node: a principal of v1, or a key of v0. ``group`` is
    empty for clients whose key is that of one session (v2): a close call can then be for no other.
    """

    canister_id: Principal
    group: bytes


class Known(NamedTuple):
    """A client that its canister may know, and what its ``ws_close`` call needs. ``gateway`` is the principal of the
    gateway in its session. ``node`` and ``incarnation`` name the process that had it, where that is another node.
    """

    gateway: Principal
    canister_id: Principal
    generation: str
    client_key: bytes
    client: str
    principal: bytes
    close_arg: bytes
    node: str = ""
    incarnation: str = ""

    @property
    def place(self) -> Place:
        """As ``place_of``."""
        group = {"v0": self.client_key, "v1": self.principal}.get(self.generation, b"")
        return Place(self.canister_id, group)


class Claim(NamedTuple):
    """What an opening message uses: itself, once until it expires (ns since 1970), and the place of its client.

    ``request_id`` is empty for openings that the gateway signs (v0). ``known`` is the client, as the canister will know
    it: others can speak for it, if this node dies, once the claim is granted.
    """

    place: Place
    client: str
    client_key: bytes
    request_id: bytes
    expires_ns: int
    known: Known | None = None


class Nodes(Protocol):
    """The cluster. None of its methods waits longer than the configuration allows."""

    async def claim(self, claim: Claim, late: Callable[[GatewayError | None], None]) -> bool:
        """Claim an opening message for this node before it is relayed, and take its place over. Returns True if this is
        its first use, False where that cannot be known. Where the answer comes after that, ``late`` is called with it:
        None, or the error that would have been raised.

        Raises OpeningClaimed for one that was used elsewhere, and ClientLeaving while another node has a close call of
        this place under way.
        """

    async def release(self, place: Place) -> Holding:
        """Ask before a close call. Where the place is ``free``, nobody takes it over until `released`."""

    def released(self, place: Place) -> None:
        """The close call of a place is done."""

    def know(self, known: Known) -> None:
        """The canister of a client may know it from now on: others can speak for it, if this node dies."""

    def forget(self, canister_id: Principal, client_key: bytes) -> None:
        """The canister of a client does not know it any more."""

    async def may_tell(self, known: Known) -> Holding:
        """Ask before a close call for a client of an earlier process, of another node, or whose session ended while
        nobody could be asked. Where it is ``free``, nobody else makes it, and nobody takes its place, until
        `have_told`; it is ``taken`` also where another node has made it.
        """

    def have_told(self, known: Known, *, is_told: bool) -> None:
        """That close call has ended, and the canister knows or not."""

    def ring(self, canister_id: Principal) -> None:
        """Something was sent to this canister: other nodes that poll it should do so at once."""

    def share(self, gateway: Principal, canister_id: Principal, poller: SharingPoller) -> SharedQueue:
        """Share the polls of the queue that a canister has for this principal of the gateway, until it is closed."""


class Alone:
    """A gateway without other nodes."""

    async def claim(self, claim: Claim, late: Callable[[GatewayError | None], None]) -> bool:
        """True: the hub and the journal know each opening message that was used."""
        return True

    async def release(self, place: Place) -> Holding:
        """Free: the hub and the close calls keep the order."""
        return "free"

    def released(self, place: Place) -> None:
        """Does nothing."""

    def know(self, known: Known) -> None:
        """Does nothing."""

    def forget(self, canister_id: Principal, client_key: bytes) -> None:
        """Does nothing."""

    async def may_tell(self, known: Known) -> Holding:
        """Free: the journal is locked by one process."""
        return "free"

    def have_told(self, known: Known, *, is_told: bool) -> None:
        """Does nothing."""

    def ring(self, canister_id: Principal) -> None:
        """Does nothing."""

    def share(self, gateway: Principal, canister_id: Principal, poller: SharingPoller) -> SharedQueue:
        """With nobody."""
        return unshared(canister_id, poller)


def claim_of(join: Join) -> Claim:
    """What the opening message of a client uses."""
    request_id, expires_ns = b"", 0
    if isinstance(join.opening, Request):
        request_id, expires_ns = join.opening.request_id, join.opening.ingress_expiry_ns
    return Claim(place_of(join), join.client, join.client_key, request_id, expires_ns)


def place_of(join: Join) -> Place:
    """The place of a client."""
    return Place(join.canister_id, join.after or (join.client_key if join.generation == "v0" else b""))
