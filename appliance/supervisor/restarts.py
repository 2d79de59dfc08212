"""When a worker that has ended is started again: a value without I/O."""

from dataclasses import dataclass
from typing import Self

FIRST_S = 0.25
MAX_S = 30.0
"""Between the end of a worker and its next start: it begins with ``FIRST_S`` and doubles."""
STEADY_S = 60.0
"""A worker that has run so long begins anew."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """``failures`` are ends in a row, each soon after its start."""

    failures: int = 0

    def ended(self, ran_s: float) -> Self:
        """The worker has ended without being asked, after so many seconds."""
        return type(self)(1 if ran_s >= STEADY_S else self.failures + 1)

    @property
    def wait_s(self) -> float:
        """Seconds until the next start."""
        return 0.0 if not self.failures else min(FIRST_S * 2.0 ** min(self.failures - 1, 16), MAX_S)
