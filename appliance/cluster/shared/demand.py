"""Whether polls are shared: a value that follows from what the nodes would poll without that."""

from dataclasses import dataclass
from typing import Literal, Self

ENOUGH = 0.5
"""Of the budget: below, each node asks for itself again. Between this and all of it nothing changes."""
HOLDS_S = 30.0
"""Time that either way is kept at least: what each node would ask changes with each message."""


@dataclass(frozen=True, slots=True)
class Demand:
    """``since`` is when ``is_on`` changed, in seconds of a monotonic clock."""

    is_on: bool = False
    since: float = float("-inf")

    def after(self, mode: Literal["auto", "always", "never"], polls: float, budget: float, now: float) -> Self:
        """``polls`` a second that all nodes together would make, and the ``budget`` of one."""
        if mode != "auto":
            return type(self)(mode == "always")
        if now - self.since < HOLDS_S:
            return self
        is_on = polls > budget * (ENOUGH if self.is_on else 1)
        return self if is_on == self.is_on else type(self)(is_on, now)
