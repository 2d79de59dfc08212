"""What comes of an attempt to run another configuration."""

from dataclasses import dataclass
from typing import Literal

from appliance.config.history import Record
from appliance.config.plan import Plan

Result = Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]

NOTHING = Plan()


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. ``generation`` is the one that runs after it, ``plan`` what changed and ``error`` why it
    was rejected. ``confirm_by_ns`` is when it is rolled back unless it is confirmed. Times are nanoseconds since 1970.
    """

    result: Result
    generation: int
    at_ns: int
    trigger: str
    actor: str
    plan: Plan = NOTHING
    error: Exception | None = None
    confirm_by_ns: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether what was asked for is so."""
        return self.error is None

    @property
    def problem(self) -> str | None:
        """The error as a sentence, or one for each of its faults."""
        return None if self.error is None else str(self.error) or type(self.error).__name__


@dataclass(frozen=True)
class Trial:
    """A configuration that is rolled back to the record ``before`` at a time, unless it is confirmed."""

    generation: int
    before: Record
    confirm_by_ns: int
    keep_if_healthy: bool
