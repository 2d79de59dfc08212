"""The result of an attempt to change the configuration."""

from dataclasses import dataclass
from typing import Literal

from appliance.config.plan import Plan

Result = Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]

NOTHING = Plan()


@dataclass(frozen=True)
class Outcome:
    """The result of one attempt. ``revision`` is the configuration that runs afterwards, ``plan`` what changed, and
    ``error`` why the attempt was rejected. ``confirm_by_ns`` is the deadline of a trial: without a confirmation the
    configuration is rolled back then. ``not_kept`` is why the history on disk does not have it. Times are nanoseconds
    since 1970.
    """

    result: Result
    revision: int
    at_ns: int
    trigger: str
    actor: str
    plan: Plan = NOTHING
    error: Exception | None = None
    confirm_by_ns: int | None = None
    not_kept: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether the attempt succeeded."""
        return self.error is None

    @property
    def problem(self) -> str | None:
        """The error as a sentence, or as one line for each of its problems."""
        return None if self.error is None else str(self.error) or type(self.error).__name__
