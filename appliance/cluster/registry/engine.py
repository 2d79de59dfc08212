"""The part of an engine that knows who may be known to which canister, and which nodes are given up.

Clients are found by a field (``clients.field_of``). Each method raises EngineAway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from appliance.cluster.engine import Engine, NodeInfo
from appliance.gateway.nodes import Holding, Place

KNOWN_MS = 86_400_000
"""Time that entries stay after their node has confirmed them for the last time, and that it is known whom canisters
were told of."""
GIVER_MS = 15_000
"""Time without a heartbeat after which another node goes on speaking for one that is given up."""
ATTESTED_MS = 6_000
"""Time that the word of a node counts which has just heard another one. It repeats that with each heartbeat."""
PAST = 16
"""Earlier processes of a name that are remembered, so that others can speak for them: the last ones."""
PAGE = 500
"""Entries in one answer of ``Registry.clients``, about."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A process that had a heartbeat once. ``given`` is ``given`` once it is given up and ``returned`` after it has
    noticed that; ``by`` is the node that gave it up. ``is_replaced``: another process has its name. ``clients`` are
    the entries of its node at the engine, ``told`` those that canisters were told of. ``is_attested``: some node has
    just heard it.
    """

    node: str
    incarnation: str
    silent_ms: int
    info: NodeInfo
    is_replaced: bool = False
    given: Literal["", "given", "returned"] = ""
    by: str = ""
    given_ms: int = 0
    clients: int = 0
    told: int = 0
    is_attested: bool = False


class Owner(NamedTuple):
    """The process that had a client. ``incarnation`` is empty where any of this node is meant."""

    node: str
    incarnation: str


class Page(NamedTuple):
    """Entries as they were written, by field, and where the next ones begin: empty after the last."""

    entries: Mapping[bytes, bytes]
    next: bytes


class Registry(Protocol):
    """As one node uses it, which names itself first: ``node`` and ``incarnation`` are its own."""

    async def write(self, node: str, incarnation: str, changes: Mapping[bytes, bytes | None]) -> bool:
        """Write and remove (None) entries of this node, and confirm all. What others told of these clients was of
        sessions before, and is forgotten. Returns False where this process does not hold
        the name of the node: then nothing has changed.
        """

    async def suspects(self) -> Sequence[Suspect]:
        """Every process that had a heartbeat within ``FORGOTTEN_MS`` or is given up: one for each node, and up to
        ``PAST`` earlier ones.
        """

    async def attest(self, node: str, incarnation: str, owner: Owner) -> None:
        """Say that a process has just answered this node at its address: nobody gives it up for ``ATTESTED_MS``."""

    async def give_up(self, node: str, incarnation: str, owner: Owner, after_ms: int) -> bool:
        """Give up a process that has had no heartbeat for ``after_ms``, if it is not, and be the one who speaks for it,
        for ``GIVER_MS``. Returns False where it lives, has returned within that time or gone on as another process, is
        attested, or another node speaks for it.
        """

    async def clients(self, owner: Owner, start: bytes) -> Page:
        """A page of the entries of a process whose canisters were not told, from ``start`` on (empty: the first). Pages
        may be empty before the last one, where the name of the node has entries of other processes. What comes, goes or
        begins to be told between two pages may be missed, or be in both; what stays is in one at least.
        """

    async def drop(self, owner: Owner, field: bytes) -> None:
        """Forget an entry that is forged."""

    async def tell(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, earlier_ms: int
    ) -> Holding:
        """Claim that this node tells a canister of a client, in one step with its place. ``taken`` where it was told,
        where a living session has the client, and where the owner has returned; ``unknown`` where another node is
        telling it, or nobody can say who has the place. Of a client that the owner itself asks for (``owner.node`` is
        ``node``) there need be no entry, and what others began to tell up to ``earlier_ms``, by the clock of the
        engine, was of an earlier session of its key (0: nothing was). Whoever did not hear the answer asks again, and
        gets the same.
        """

    async def told(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, is_told: bool
    ) -> None:
        """The telling that was claimed has ended."""

    async def returned(self, node: str, incarnation: str) -> Mapping[bytes, int]:
        """Nobody speaks for this process any more. Returns of whom canisters were told, or are being told, in its name:
        by field, with the time of the engine (ms) when that began.
        """

    async def holds(self, incarnation: str, places: Sequence[Place]) -> Sequence[bool]:
        """Whether each of these places is still held for a session by this process."""


class ClusterEngine(Engine, Protocol):
    """An engine with its registry."""

    @property
    def registry(self) -> Registry:
        """Of the same cluster."""
