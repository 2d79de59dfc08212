"""The connections of a gateway for its operators: every WebSocket, whether its client has joined or not."""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.gateway.peer import Peer
from appliance.protocol.session import State


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection at a moment. Times are nanoseconds since 1970, None for what has not happened.

    ``canister`` and ``client`` are text, None before the client joined. ``waiting_bytes`` wait for the client to read,
    ``waiting_calls`` for the IC.
    """

    id: str
    address: str
    path: str
    generation: str
    state: State
    canister: str | None
    client: str | None
    connected_at_ns: int
    opened_at_ns: int | None
    frames_in: int
    bytes_in: int
    delivered: int
    bytes_out: int
    waiting_bytes: int
    waiting_calls: int


class ConnectionRegistry:
    """The peers by id, in the order in which they connected. Iterating takes a copy, so that peers may be closed."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def get(self, peer_id: str) -> Peer | None:
        """The peer with this id, None if it is not here."""
        return self._peers.get(peer_id)

    def add(self, peer: Peer) -> None:
        """Add a peer."""
        self._peers[peer.id] = peer

    def remove(self, peer: Peer) -> None:
        """Remove a peer; does nothing for one that is not here."""
        self._peers.pop(peer.id, None)


def info_of(peer: Peer) -> ConnectionInfo:
    """The present state of a peer."""
    timeline = peer.timeline
    return ConnectionInfo(
        id=peer.id,
        address=peer.source.address,
        path=peer.source.path,
        generation=peer.session.name,
        state=peer.session.state,
        canister=timeline.canister,
        client=timeline.client,
        connected_at_ns=peer.source.at_ns,
        opened_at_ns=timeline.opened_at_ns,
        frames_in=timeline.frames,
        bytes_in=peer.bytes_in,
        delivered=timeline.delivered,
        bytes_out=peer.outbox.passed,
        waiting_bytes=peer.outbox.waiting,
        waiting_calls=len(peer.relays),
    )
