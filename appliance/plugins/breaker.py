"""A circuit breaker for a hook that fails, as a value."""

from dataclasses import dataclass, replace
from typing import Literal

FAILURE = 20
"""Cost of a failure; a success gives back 1."""
BUDGET = 100
"""Spent after five failures in a row, or by one failure in twenty calls over time."""
FIRST_REST_S = 30.0
LAST_REST_S = 600.0
"""How long a hook is off after its budget is spent; doubled each time that a trial call fails."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """``spent`` of the budget; ``rests_until_s`` is set while the hook is off, and ``rest_s`` is how long it rests."""

    spent: int = 0
    rests_until_s: float | None = None
    rest_s: float = FIRST_REST_S

    @property
    def state(self) -> Literal["on", "off"]:
        """``off`` until a trial succeeds."""
        return "on" if self.rests_until_s is None else "off"

    def allows(self, now_s: float) -> bool:
        """Whether the hook may be called now. While it is off that is one trial after each rest."""
        return self.rests_until_s is None or now_s >= self.rests_until_s

    def called(self, now_s: float) -> "Breaker":
        """A call begins. While the hook is off this is a trial: no second one starts before its result, or before a
        further rest."""
        return self if self.rests_until_s is None else replace(self, rests_until_s=now_s + self.rest_s)

    def succeeded(self, *, trial: bool = False) -> "Breaker":
        """A call returned in time. ``trial``: it began while the hook was off; while it is off no other call counts."""
        if self.rests_until_s is None:
            return Breaker(max(0, self.spent - 1))
        return Breaker() if trial else self

    def failed(self, now_s: float, *, trial: bool = False) -> "Breaker":
        """A call raised or took too long. ``trial`` as in `succeeded`: of many calls that waited together, those that
        fail after the hook was switched off say nothing new and must not make it rest longer."""
        if self.rests_until_s is None:
            spent = min(self.spent + FAILURE, BUDGET)
            return Breaker(spent, now_s + FIRST_REST_S if spent == BUDGET else None)
        if not trial:
            return self
        rest_s = min(2 * self.rest_s, LAST_REST_S)
        return replace(self, rests_until_s=now_s + rest_s, rest_s=rest_s)
