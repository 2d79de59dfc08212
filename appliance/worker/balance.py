"""Which worker accepts newcomers: a value without I/O.

The workers accept at the same sockets, so that whoever is idle takes the next client. What this adds is that nobody
takes more than its part: after a restart, newcomers go to the worker that has none until it has its part again.
"""

from dataclasses import dataclass
from typing import Self

MOST = 1.25
"""A worker with more than so many times the mean leaves newcomers to the others."""
SLACK = 8
"""Connections above the mean that never matter: with a few clients, parts are uneven by chance."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What the supervisor has told last: the mean of the workers that accept, and how many this one had then."""

    mean: float
    own: int

    def has_enough(self, now: int) -> bool:
        """Whether a worker that has so many now has more than its part. What came to it since the mean was told, is
        taken to have come to the others too: otherwise nobody would accept a crowd.
        """
        mean = self.mean + max(0, now - self.own)
        return now > max(MOST * mean, mean + SLACK)

    def is_ahead(self, now: int) -> bool:
        """Whether so many have come since that the others should have their turn, until a new mean is told."""
        return now - self.own >= max(SLACK, self.own // 2)

    def later(self, now: int) -> Self:
        """What to go by if no new mean comes: as many came to the others."""
        return type(self)(self.mean + max(0, now - self.own), now)


def mean_of(counts: list[int]) -> float:
    """The mean of what the workers that accept have; 0 where none does."""
    return sum(counts) / len(counts) if counts else 0.0
