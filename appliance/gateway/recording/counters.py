"""Plain counters of what the gateway did, for metrics to read."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counts since the start. Single numbers only grow; ``refused``, ``failed_polls``, ``unverified`` and
    ``failed_relays`` count by ``GatewayError.reason``, ``closed`` by close code (1006 where there was none) and
    ``rejected_requests`` by HTTP status.
    """

    connections: int = 0
    """Sockets accepted."""
    rejected_requests: Counter[int] = field(default_factory=Counter)
    joined: int = 0
    """Sessions whose opening message was verified and registered."""
    opened: int = 0
    """Sessions that the canister answered."""
    frames: int = 0
    """Messages of clients."""
    relayed: int = 0
    """Calls of clients that the IC answered or accepted."""
    failed_relays: Counter[str] = field(default_factory=Counter)
    unverified: Counter[str] = field(default_factory=Counter)
    """What verification would have refused, were it enforced."""
    refused: Counter[str] = field(default_factory=Counter)
    """Sockets closed for an error."""
    closed: Counter[int] = field(default_factory=Counter)
    polls: int = 0
    failed_polls: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    """Messages of canisters that went to their client."""
    undeliverable: int = 0
    """Messages for clients that are not here."""
    repeated: int = 0
    """Messages that a reply brought again."""
    gaps: int = 0
    """Times that nonces were not consecutive."""
    probes: int = 0
    """Polls from the beginning of the queue, to see whether the canister restarted."""
    resets: int = 0
    """Times that a canister restarted its queue."""
    farewells: int = 0
    """Clients whose leaving a canister was told."""
    failed_farewells: Counter[str] = field(default_factory=Counter)
