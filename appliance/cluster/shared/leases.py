"""What the engine says of the polls that are shared: who asks a canister, and what it got."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

LEASE_MS = 1500
"""Time that a node asks a canister for the others without saying so again."""
ENTRY_MS = 10_000
"""Time that an entry is kept."""

Mode = Literal["look", "hold", "renew", "seize"]
"""``hold``: ask, if nobody does; ``renew``: the same, with another epoch if this node asks already; ``seize``: ask in
any case; ``look``: do not."""


class Wanted(NamedTuple):
    """What a node wants of a queue; ``epoch`` is the one that it has begun, or would begin."""

    queue: bytes
    epoch: str
    mode: Mode


class Lease(NamedTuple):
    """Who asks (an incarnation; empty: nobody, or one that may not know it yet), the epoch of its entries, the number
    of the last, and how many nodes poll the queue or follow it.
    """

    holder: str
    epoch: str
    last: int
    nodes: int


class Entries(NamedTuple):
    """The entries from number ``first`` on, as many as were wanted; ``last`` is the number of the last that exists.
    None of them where the epoch is another one.
    """

    epoch: str
    last: int
    first: int
    entries: Sequence[bytes] = ()


class Leases(Protocol):
    """The engine, as far as polls are shared. Each method raises EngineAway, as those of ``engine.Engine``."""

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        """Ask for the queues or give them up, and see who asks. For each what is so afterwards."""

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        """Add an entry, tell everybody, and delete the oldest of all queues beyond ``memory`` bytes. Returns False, and
        does nothing, where another node asks, or where this is not the next number.
        """

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        """The entries behind a number: ``max_bytes`` of them, or one."""

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        """Pass on each queue that has a new entry, until cancelled or the engine is away."""
