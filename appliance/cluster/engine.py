"""What the nodes of a cluster share: a doorbell, claims, holders of places, and heartbeats.

The interface is narrow, because an engine may be away, slow, full or wrong: it can delay, lose and lie. What it says
may refuse an opening message, postpone a close call or cause a poll; it can forge no message, since every node verifies
what it polls, and it can close no session.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from appliance.cluster.limits.levels import Levels
from appliance.cluster.shared.leases import Leases
from appliance.gateway.nodes import Claim, Place

SCHEMA = 4
"""Of what nodes write into the engine, and of what they have to heed there. Nodes with different numbers cannot share
it: 2 knew neither nodes that are given up nor places whose session has ended, 3 neither that a node may attest that
another one lives nor more than one earlier process of a name."""
DEAD_MS = 10_000
"""Time without a heartbeat after which a node does not hold its name any more."""
LATE_MS = 1000
"""Time after which a claim that was delayed on its way writes no client: that may have come, left and been reported
meanwhile. It is doubted."""
FORGOTTEN_MS = 3600_000
"""Time without a heartbeat after which a node is listed no more."""
HELD_MS = 3600_000
"""Time that a place stays held without being confirmed (`Engine.hold`)."""
CLOSING_MS = 300_000
"""Time that a close call keeps a place from being taken over, if its end is never reported: it expires before."""
ENDED_MS = 300_000
"""Time that the end of a session is known by its place: a claim of it that comes only then, on its way until now, would
hold the place for nobody, and keep others from telling the canister of their clients."""
MAX_CLAIM_MS = 600_000
"""An opening message expires within five minutes. Where envelopes are not verified, its expiry may be anything."""

SILENT_MS = 2500
"""Time without a heartbeat after which a node may relay openings that it cannot claim."""

ClaimAnswer = Literal["granted", "doubted", "used", "leaving", "given"]
Release = Literal["free", "taken", "unknown"]


FACTS = ("the principal", "the root key with SHA-256", "the schema")
"""What `Facts` are, as words."""


class Held(NamedTuple):
    """A place that this node has a session for, and since when (ms since 1970, by the clock of the engine)."""

    place: Place
    since_ms: int


class Entry(NamedTuple):
    """A client as it is written into the registry (``registry.clients``)."""

    field: bytes
    value: bytes


class Facts(NamedTuple):
    """What all living nodes of a cluster have in common, as text."""

    principal: str
    root_key: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself. Times are ns since 1970. ``revision`` is that of its configuration, ``failing`` are
    the names of the checks of its readiness that fail, with commas between.
    """

    version: str
    host: str
    pid: int
    started_at_ns: int
    sessions: int = 0
    peer: str = ""
    """Where it answers other nodes (``registry.peers``), empty for nowhere."""
    peer_tag: str = ""
    """Proves that this is its address."""
    draining: bool = False
    revision: int = 0
    failing: str = ""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as the engine knows it. ``silent_ms`` is the time since its last heartbeat, by the clock of the engine."""

    name: str
    incarnation: str
    silent_ms: int
    info: NodeInfo


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat. ``incarnation`` names the process, by 16 hexadecimal digits; ``number`` grows with each beat.

    ``replaces`` is what held the name before, if that is known to be dead. ``doubt_ms`` is the time until the last
    opening expires that this node relayed without a claim. ``is_confirmed``: the engine knows the places of this node,
    also of those sessions that it opened without the engine. Until then the node counts as silent (`Engine.release`).
    """

    node: str
    incarnation: str
    number: int
    facts: Facts
    info: NodeInfo
    replaces: str = ""
    doubt_ms: int = 0
    is_confirmed: bool = True

    @property
    def value(self) -> str:
        """What the name of the node is held with."""
        return f"{self.incarnation}:{self.number}"


@dataclass(frozen=True, slots=True)
class Joined:
    """The node is part of the cluster. ``was_known``: the engine still had its heartbeat before; where it had not, it
    has lost what else it held, too. ``engine_ms`` is the time there, ms since 1970.
    """

    was_known: bool
    engine_ms: int


@dataclass(frozen=True, slots=True)
class OtherFacts:
    """The living nodes have other facts in common."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class NameHeld:
    """Another process holds the name of the node, with this value."""

    value: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The process is given up: others have told its canisters of its clients, or do so now."""


BeatAnswer = Joined | OtherFacts | NameHeld | GivenUp


class Engine(Leases, Levels, Protocol):
    """The engine of one cluster, as one node uses it. Unless said otherwise each method raises EngineAway, and takes as
    long as it takes: whoever cannot wait does not cancel it (``commands``), since that would cost a connection.
    """

    async def connect(self) -> None:
        """Examine the engine, after it was away. Raises EngineUnsuitable for one that cannot carry a cluster."""

    async def beat(self, beat: Beat) -> BeatAnswer:
        """Hold the name of this node for ``DEAD_MS``. Claims are doubted for ``doubt_ms`` from now on, and for
        ``MAX_CLAIM_MS`` where the engine has lost what it held, or another process held the name and never left.
        """

    async def leave(self, node: str, incarnation: str) -> None:
        """Give up the name, if this process holds it."""

    async def nodes(self) -> Sequence[NodeRecord]:
        """Every node that had a heartbeat within ``FORGOTTEN_MS``. Where one has had none for ``SILENT_MS``, claims are
        doubted for ``MAX_CLAIM_MS`` from its last.
        """

    async def claim(
        self, node: str, incarnation: str, claim: Claim, *, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        """Claim an opening message until it expires, and hold its place, in one step. ``used`` where another process
        has the claim, ``leaving`` while a living process of another node closes the place, ``given`` where this process
        is given up: then nothing has changed. Where it is ``granted``, the entry is written into the registry, too.
        ``doubted`` is granted as well, at a time when openings may have been used that the engine knows nothing of, or
        more than ``LATE_MS`` after it was sent.

        ``now_ns`` is ns since 1970 by the clock of the node, ``since_ms`` the latest time that the engine may have had
        when the claim was sent. One that took longer takes over no place that was claimed, or released, since then.
        """

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """Confirm places. One that is held by another node since later, or closed by a living one, stays as it is."""

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        """``free`` where no other node holds the place: then it is being closed, by this node. ``unknown`` where
        another holds it of which there is no heartbeat; where any other node has none for ``SILENT_MS``, since it may
        only have lost the engine, or has it back and has not confirmed its places, unless it is given up; and where
        this process does not hold the name of the node: it stood still too long, or the engine has lost what it held.
        """

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        """The place is not being closed by this process any more."""

    async def ring(self, message: bytes) -> None:
        """Pass a message to every node that listens."""

    async def tell(self, incarnation: str, message: bytes) -> bool:
        """Pass a message to one node. Returns whether it listens."""

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        """Pass on what is rung to ``heard``, and what is told to this node to ``told``, until cancelled or the engine
        is away.
        """

    async def close(self) -> None:
        """Close every connection. Raises nothing."""
