"""A configuration on trial: unless it is confirmed by its deadline, it is rolled back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from appliance.config.history import Record

RETRY_S = 5.0
"""Until the second attempt to end a trial, where the configuration before it cannot be restored at once; twice as long
until each one after that, since every attempt is a revision, an event and a line in the audit log."""
MAX_RETRY_S = 300.0
"""The longest time between two of them."""


@dataclass(frozen=True)
class Trial:
    """Revision ``revision`` runs on trial. At ``confirm_by_ns`` (nanoseconds since 1970) it is rolled back to the
    record ``before``, unless it was confirmed, or ``keep_if_healthy`` is set and no readiness check fails. ``ended`` is
    set when it was confirmed or rolled back.
    """

    revision: int
    before: Record
    confirm_by_ns: int
    keep_if_healthy: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class TrialTimer:
    """At most one trial, and the task that waits for its deadline.

    Time line of a trial: `begin` -> the timer sleeps until the deadline -> it calls ``judge``, again and again until
    the trial has ended. `end` may come at any time: from a confirmation, from a rollback, or from ``judge`` itself.
    """

    def __init__(
        self,
        judge: Callable[[Trial], Awaitable[object]],
        *,
        start_task: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        sleep: Callable[[float], Coroutine[Any, Any, object]],
    ) -> None:
        """``judge`` confirms a trial or rolls it back, and so calls `end`; where it raises, it is called again later.
        ``start_task`` starts a task that its owner cancels at the end of the process.
        """
        self.current: Trial | None = None
        self._judge = judge
        self._start_task = start_task
        self._sleep = sleep
        self._sleeping: asyncio.Task[None] | None = None

    def begin(self, trial: Trial, seconds: float) -> None:
        """Start a trial that is judged after so many seconds. The one before must have ended."""
        self.current = trial
        self._sleeping = self._start_task(self._wait(trial, seconds))

    def end(self) -> None:
        """End the trial, if there is one: it was confirmed or rolled back."""
        if self.current is not None:
            self.current.ended.set()
        self.current = None
        if self._sleeping is not None:
            self._sleeping.cancel()
            self._sleeping = None

    async def _wait(self, trial: Trial, seconds: float) -> None:
        await self._sleep(seconds)
        # From here on `end` must not cancel this task: this task awaits `judge`, and `judge` calls `end`. What ends the
        # loop instead is that the trial is no longer the current one.
        self._sleeping = None
        retry_s = RETRY_S
        while self.current is trial:
            with contextlib.suppress(Exception):  # the failure is in the log and in `Reloads.last`
                await self._judge(trial)
                return
            await self._sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)
