"""The output of a session. Frozen; acted on in one place, ``gateway.peer.Peer.perform``."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.crypto import Request
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from appliance.protocol.frames import Delivery


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the gateway makes in its own name."""

    canister_id: Principal
    method_name: str
    arg: bytes


_ANSWERED = Call(Principal(b""), "ws_open", b"")
"""For the opening call of any client that was answered: one for all sessions."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write to the client. ``frame`` is a complete WebSocket frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Register the client, before anything of it is relayed.

    ``generation`` is the wire generation by name, ``client_key`` the address of the canister's messages,
    ``client`` the same as text, and ``opening`` the call that opens the session: the verified one of the client, or the
    gateway's own. It must wait until ``ws_close`` of earlier clients with the same ``after`` has ended, unless that is
    empty. Of clients with the same ``principal`` the canister keeps the one that opened last, unless that is empty.
    """

    generation: str
    canister_id: Principal
    client_key: bytes
    client: str
    opening: Request | Call
    after: bytes = b""
    principal: bytes = b""

    def without_opening(self) -> "Join":
        """The same without the bytes of the opening call, which was answered: they would be kept with the session."""
        return replace(self, opening=_ANSWERED)


@dataclass(frozen=True, slots=True)
class Poll:
    """Start polling the canister, if it is not polled yet, from ``nonce`` on: the first message that may be for this
    client, None if not known.
    """

    nonce: int | None = None


@dataclass(frozen=True, slots=True)
class Relay:
    """Send a call to the IC after everything relayed before: the client's own signed bytes, or a call of the gateway on
    behalf of the client.
    """

    call: Request | Call


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is open."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Call ``work`` where it holds up nobody, and pass its result to ``Session.verified`` before any further message of
    the client: a message is dear to verify. ``work`` takes the time of its call (ns since 1970), for it may have to
    wait, and raises what ``Session.receive`` raises. ``size`` is the bytes that it keeps.
    """

    work: Callable[[int], object]
    size: int


@dataclass(frozen=True, slots=True)
class VerificationFailed:
    """Verification failed, but is only to be reported. ``error`` is what would have closed the socket."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver a message of the canister that the session has kept, as if it came now."""

    delivery: Delivery


Event = Send | Join | Poll | Relay | Opened | Verify | VerificationFailed | Deliver
