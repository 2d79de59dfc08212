"""What a node knows of its contact with the engine: a value that follows from each attempt."""

from dataclasses import dataclass
from typing import Literal, Self

BEAT_S = 1.0
"""Between two heartbeats."""
LIVING_S = 3 * BEAT_S
"""How long a start watches the heartbeats of a node with its own name, to see whether that lives."""
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 5.0
"""Between two attempts while the engine is away: they begin with ``FIRST_WAIT_S`` and double."""
SETTLE_S = 15.0
"""After a contact began, until the engine is believed about places: within that, every node that lost it with this one
is back and has confirmed its own. Three times ``MAX_WAIT_S``."""


@dataclass(frozen=True, slots=True)
class Contact:
    """``joined``: the node is part of the cluster; ``away``: the engine does not answer; ``refused``: it does, and the
    node may not join. ``since`` is when that began, in seconds of a monotonic clock; ``failures`` are attempts
    in a row; ``problem`` is a sentence.
    """

    state: Literal["joined", "away", "refused"]
    since: float
    failures: int = 0
    problem: str | None = None

    def joined(self, now: float, *, was_known: bool) -> Self:
        """A heartbeat was answered. Where the engine did not know the one before, the contact begins anew."""
        return self if self.state == "joined" and was_known else type(self)("joined", now)

    def failed(self, now: float, problem: str, *, is_refused: bool = False) -> Self:
        """An attempt failed."""
        state: Literal["away", "refused"] = "refused" if is_refused else "away"
        since = self.since if self.state == state else now
        return type(self)(state, since, self.failures + 1, problem)

    def wait_s(self, jitter: float) -> float:
        """Seconds until the next attempt, shortened by up to half by ``jitter`` (0 to 1)."""
        if self.state == "joined":
            return BEAT_S
        return min(FIRST_WAIT_S * 2.0 ** min(self.failures - 1, 16), MAX_WAIT_S) * (1 - jitter / 2)

    def is_settled(self, now: float, settle_s: float = SETTLE_S) -> bool:
        """Whether the engine is to be believed about places that other nodes hold."""
        return self.state == "joined" and now - self.since >= settle_s
