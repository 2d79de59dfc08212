"""How attempts to change the configuration went, in numbers."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from appliance.control.outcome import Outcome, Result, Trial
from appliance.errors import ConfigError


class Reloading(Protocol):
    """``control.reload.Reloads``."""

    observers: list[Callable[[Outcome], None]]

    @property
    def generation(self) -> int:
        """The one that runs."""

    @property
    def last(self) -> Outcome:
        """The latest attempt."""

    @property
    def trial(self) -> Trial | None:
        """The one that is not confirmed yet."""


class ReloadCounts:
    """Counts the outcomes from now on by trigger and result."""

    def __init__(self, reloads: Reloading) -> None:
        self.reloads = reloads
        self.outcomes: Counter[tuple[str, Result]] = Counter()
        reloads.observers.append(self._note)

    def _note(self, outcome: Outcome) -> None:
        if outcome.result != "started":  # which is no attempt to change anything
            self.outcomes[outcome.trigger, outcome.result] += 1

    @property
    def faults(self) -> int:
        """How many were found at the last attempt."""
        error = self.reloads.last.error
        if isinstance(error, ConfigError):
            return len(error.problems)
        return int(error is not None)
