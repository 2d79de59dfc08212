"""What a session wants done. Frozen; acted on in one place, ``gateway.peer.Peer.perform``."""

from dataclasses import dataclass

from appliance.crypto import Request
from appliance.errors import GatewayError
from appliance.ic.principal import Principal


@dataclass(frozen=True, slots=True)
class Send:
    """Write to the client. ``frame`` is a complete WebSocket frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Register the client, before anything of it is relayed.

    ``client_key`` is what the canister addresses its messages to, ``client`` the same for people, and ``request`` the
    verified call that opens the session.
    """

    canister_id: Principal
    client_key: bytes
    client: str
    request: Request


@dataclass(frozen=True, slots=True)
class Relay:
    """Send the client's own signed bytes to the IC, after everything relayed before."""

    request: Request


@dataclass(frozen=True, slots=True)
class Opened:
    """The canister has answered: the session is open."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """Verification failed, but is only to be reported. ``error`` is what would have closed the socket."""

    error: GatewayError


Event = Send | Join | Relay | Opened | Doubted


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the gateway makes in its own name."""

    canister_id: Principal
    method: str
    arg: bytes
