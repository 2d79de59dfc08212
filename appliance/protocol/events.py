"""The output of a session. Frozen; acted on in one place, ``gateway.peer.Peer.perform``."""

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
class VerificationFailed:
    """Verification failed, but is only to be reported. ``error`` is what would have closed the socket."""

    error: GatewayError


Event = Send | Join | Poll | Relay | Opened | VerificationFailed
