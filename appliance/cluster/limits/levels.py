"""What the engine keeps of rates: for each key how much of its limit is used up, at all nodes together."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Spent(NamedTuple):
    """Events of a key that a node has allowed, and the ``rate`` (a second) at which time gives them back."""

    key: bytes
    rate: float
    events: int


class Levels(Protocol):
    """The engine, as far as rates are shared. Each method raises EngineAway, as those of ``engine.Engine``."""

    async def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        """Count these events, whether or not they are more than a limit: they were allowed. For each key the events
        that are used up then, by the clock of the engine.
        """
