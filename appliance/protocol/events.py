"""What a session wants done. Frozen; acted on in one place, ``gateway.peer.Peer.perform``."""

from dataclasses import dataclass

from appliance.crypto import Request
from appliance.errors import GatewayError
from appliance.ic.principal import Principal


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the gateway makes in its own name."""

    canister_id: Principal
    method_name: str
    arg: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Write to the client. ``frame`` is a complete WebSocket frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Register the client, before anything of it is relayed.

    ``generation`` is the wire generation by name, ``client_key`` what the canister addresses its messages to,
    ``client`` the same for people, and ``opening`` the call that opens the session: the verified one of the client, or
    the gateway's own. The canister has to be told that clients with the same ``after`` have left before it is made, of
    none where it is empty.
    """

    generation: str
    canister_id: Principal
    client_key: bytes
    client: str
    opening: Request | Call
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class Poll:
    """See that the canister is polled. ``nonce`` is the first message that may be for this client, None if not known;
    a canister that is not polled yet is polled from there on.
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
class VerificationFailed:
    """Verification failed, but is only to be reported. ``error`` is what would have closed the socket."""

    error: GatewayError


Event = Send | Join | Poll | Relay | Opened | VerificationFailed
