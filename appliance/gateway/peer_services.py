"""What a peer uses of the gateway."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from appliance.config.schema import Config
from appliance.errors import GatewayError
from appliance.gateway.calls.pace import Paces
from appliance.gateway.calls.queued import QueuedCall
from appliance.gateway.client_verification import ClientVerification
from appliance.gateway.hooks import Hooks
from appliance.gateway.limits.rate_limits import LimitExceeded, Limits
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.tasks import Tasks
from appliance.protocol.events import Join

Served_contra = TypeVar("Served_contra", contravariant=True)
"""``peer.Peer``, which imports this module."""


class PeerServices(Protocol[Served_contra]):
    """The gateway, as its peers use it."""

    config: Config
    tasks: Tasks
    paces: Paces
    clock: Callable[[], int]
    recorder: Recorder
    limits: Limits
    hooks: Hooks
    verification: ClientVerification

    def limit_exceeded(self, peer: Served_contra, exceeded: LimitExceeded) -> None:
        """Record that a peer exceeds a limit. Raises RateLimited where the limit is enforced."""

    def join(self, join: Join, peer: Served_contra) -> None:
        """Register a verified client. Raises a GatewayError if it is not admitted."""

    def poll(self, peer: Served_contra, nonce: int | None) -> None:
        """Start polling the canister of this peer from this nonce on, unless it is polled already."""

    def opened(self, peer: Served_contra) -> None:
        """The session of this peer is open."""

    def report_unverified(self, error: GatewayError, peer: Served_contra) -> None:
        """Record a message that failed verification and is let through."""

    def submit(self, queued: QueuedCall, peer: Served_contra) -> Awaitable[bytes | None]:
        """Make a call of or for this peer; the reply is None where only acceptance is known. Raises GatewayError."""

    def relayed(self, peer: Served_contra, error: GatewayError | None = None) -> None:
        """Such a call was answered, or failed."""

    async def confirm(self, queued: QueuedCall) -> bool:
        """Whether a replica is known to have a call that is under way. Raises nothing."""

    def accepted(self, peer: Served_contra) -> None:
        """Record that the canister accepted this peer's opening message."""

    async def flush_before_close(self, peer: Served_contra) -> None:
        """Wait, for a few polls at most, for messages that the canister has queued for this peer."""
