"""Changes the configuration of a running gateway: for SIGHUP, a changed file, the command line and the API alike.

The steps: parse, validate, plan, record the revision as a candidate, examine all that it needs, let every part prepare,
commit all of them at once, and record the revision as good. A failure before the commit leaves everything as it was.
`review` goes through the same steps and stops before the parts prepare. A configuration may run on trial: unless it is
confirmed in time, the one before it is restored.
"""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import structlog

from appliance.config.history import History, Record, hash_of
from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange, compare, without
from appliance.config.schema import Config
from appliance.config.source import Source, Start
from appliance.control.reload.file_difference import FileDifference
from appliance.control.reload.outcome import NOTHING, Outcome, Result
from appliance.control.reload.refusals import add_places, check_permitted, check_revertible, not_pending
from appliance.control.reload.reloadable import PreparedChange, Reloadable, cleanup_all, commit_all, prepare_all
from appliance.control.reload.report import report, report_warnings
from appliance.control.reload.revisions import Revisions
from appliance.control.reload.serial import Serial
from appliance.control.reload.trials import Trial, TrialTimer
from appliance.errors import (
    ConfigError,
    ConfigProblem,
    ConfirmationPending,
    EtagMismatch,
    NothingToConfirm,
    ReloadFailed,
    ReloadTooLate,
    RevisionReplaced,
)
from appliance.threads import FILE_TIMEOUT_S, FILES

_log = structlog.get_logger(__name__)

OutcomeT = TypeVar("OutcomeT", bound=Outcome | None)

CLEANUP_S = 5.0
"""The longest that an apply waits for the release of what it replaced."""


class Reloads:
    """The configuration that runs, and every way to change it. An async context: entering it records the configuration
    of the start as good, leaving it cancels everything under way; a trial that is under way then counts as not
    confirmed.

    ``revision`` is the number of the configuration that runs. ``observers`` are called with every outcome. ``last`` is
    the latest outcome; plans and reviews have none. ``trigger`` is that of the latest attempt to change something.
    """

    def __init__(
        self,
        start: Start,
        parts: Sequence[Reloadable],
        *,
        count_sessions: Callable[[Plan], Mapping[str, int]] = lambda _: {},
        failed_checks: Callable[[], Awaitable[Sequence[str]]] | None = None,
        examine: Callable[[Loaded, Loaded], Awaitable[None]] | None = None,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        """``count_sessions`` returns how many sessions the change of each key concerns, by key. ``failed_checks``
        returns a sentence for each failed readiness check, for trials that are kept if the gateway is healthy.
        ``examine`` raises ConfigError where a configuration cannot run although it is valid; its arguments are that one
        and the one that runs."""
        self.source: Source = start.source
        self.history: History = start.history
        self.loaded: Loaded = start.loaded
        self.revision = start.record.revision if start.record else 0
        self.pending_restart: tuple[PlannedChange, ...] = ()
        self.observers: list[Callable[[Outcome], None]] = []
        self.trigger = "start"
        self._file_difference = FileDifference(start.source)
        self._start = start
        self._parts = parts
        self._count_sessions = count_sessions
        self._failed_checks = failed_checks
        self._examine = examine
        self._clock = clock
        self._serial = Serial()
        self._revisions = Revisions(start.history, start.source, clock)
        self._is_over = False
        self._trials = TrialTimer(self._end_trial_in_time, start_task=self._serial.start, sleep=sleep)
        self.last = Outcome("started", self.revision, clock(), "start", "start")

    async def __aenter__(self) -> Self:
        for warning in self._start.warnings:
            _log.warning(warning)
        self._revisions.mark_unfinished()
        if self._start.record is None:
            self.revision = (await self._revisions.add("good", self.loaded.text, "start", "start")).revision
        else:
            await self._revisions.write()
        self.history.in_use = {self.revision}
        self._publish(replace(self.last, revision=self.revision, not_kept=self.history.not_kept(self.revision)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._serial.cancel()
        self._revisions.close()

    def end(self) -> None:
        """Begin no change from now on: the gateway stops. A trial may still be confirmed."""
        self._is_over = True

    # --- what runs --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The configuration that runs."""
        return self.loaded.config

    @property
    def trial(self) -> Trial | None:
        """The trial of the configuration that runs, until it is confirmed."""
        return self._trials.current

    @property
    def hash(self) -> str:
        """SHA-256 of the text that runs."""
        return hash_of(self.loaded.text)

    @property
    def etag(self) -> str:
        """Identifies the configuration that runs, for ``If-Match``; without quotes."""
        return f"{self.revision}-{self.hash[:16]}"

    async def differs_from_file(self) -> bool:
        """Whether a reload of the file would change something; also where the file cannot be read or used."""
        return await self._file_difference.shown(self.loaded, self.pending_restart)

    async def file_has_other_text(self) -> bool:
        """Whether the text of the file is another than the one that runs, be it in a comment."""
        return await self._revisions.file_hash() != self.hash

    # --- plan, apply, confirm ---------------------------------------------------------------------------------------

    async def plan(self, text: str | None = None) -> Plan:
        """What applying a text, or the file as it is now, would change. Raises ConfigError."""
        return self._plan(await self._load(text))

    async def review(
        self, text: str | None = None, *, allow_restart: bool = False, force: bool = False
    ) -> tuple[Plan, ConfigError | None]:
        """What `apply` would change, and why it would refuse. Raises ConfigError for a text that is not valid."""
        new = await self._load(text)
        plan = self._plan(new)
        try:
            check_permitted(plan, new, self.pending_restart, allow_restart=allow_restart, force=force)
            await self._check(new)
        except ConfigError as error:
            return plan, error
        return plan, None

    async def _check(self, new: Loaded) -> None:
        """Raises ConfigError where a valid configuration cannot run."""
        if self._examine is not None:
            await self._examine(new, self.loaded)

    async def apply(
        self,
        text: str | None = None,
        *,
        trigger: str,
        actor: str,
        if_match: str | None = None,
        confirm_within_s: float | None = None,
        keep_if_healthy: bool = False,
        allow_restart: bool = False,
        force: bool = False,
    ) -> Outcome:
        """Run a text, or the file as it is now; does nothing where that runs already.

        ``if_match`` is the etag that must still be the running one. With ``confirm_within_s`` the change is rolled back
        after that time unless it is confirmed, or, with ``keep_if_healthy``, unless every readiness check passes. With
        ``allow_restart`` changes that need a restart are kept for the next start and the others are applied. ``force``
        is needed to remove every canister while there are sessions.

        Once begun it runs to its end, also where the caller is cancelled. Raises ConfigError, RestartNeeded,
        ForceNeeded, EtagMismatch, ConfirmationPending, NothingToTry, or what a part raises from ``prepare``; nothing
        has changed then.
        """

        async def applied() -> Outcome:
            if if_match is not None and if_match != self.etag:
                raise EtagMismatch(if_match, self.etag)
            if self.trial is not None:
                raise ConfirmationPending(self.trial.revision)
            new = await self._load(text)
            plan = self._plan(new)
            check_permitted(plan, new, self.pending_restart, allow_restart=allow_restart, force=force)
            if new.text == self.loaded.text and not not_pending(plan, self.pending_restart):
                return self._outcome("unchanged", trigger, actor)
            if confirm_within_s is not None:
                check_revertible(new, self.loaded)
            before = self.history[self.revision]
            await self._run(new, plan, trigger, actor, on_trial=confirm_within_s is not None)
            if confirm_within_s is not None:
                confirm_by_ns = self._clock() + round(confirm_within_s * 1e9)
                trial = Trial(self.revision, before, confirm_by_ns, keep_if_healthy)
                self._trials.begin(trial, confirm_within_s)
            return self._outcome("applied", trigger, actor, plan)

        return await self._run_to_completion(applied, trigger, actor)

    async def attempt(self, *, trigger: str, actor: str) -> Outcome:
        """Apply the file as it is now. Raises nothing: a refusal is logged, and is the outcome."""
        try:
            return await self.apply(trigger=trigger, actor=actor)
        except Exception as error:
            is_last = self.last.error is error  # another may have come after it
            return self.last if is_last else replace(self._outcome("rejected", trigger, actor), error=error)

    async def differs_after_trial(self, revision: int) -> bool:
        """Wait until the trial of a revision has ended. Returns whether the file has another text than that one, which
        the trial has judged: after a rollback it must not come back by itself.
        """
        on_trial = [record.hash for record in self.history if record.revision == revision]
        if self.trial is not None and self.trial.revision == revision:
            await self.trial.ended.wait()
        return await self._revisions.file_hash() not in on_trial

    async def confirm(self, *, actor: str) -> Outcome:
        """Keep the configuration that runs on trial. Raises NothingToConfirm."""
        return await self._run_to_completion(lambda: self._confirm("confirm", actor), "confirm", actor)

    async def roll_back(self, revision: int | None = None, *, actor: str) -> Outcome:
        """Run a revision of the history again; None: the one before the trial, else the last good one that differs.

        It becomes a revision of its own, and the one that ran is marked as rolled back. Raises RevisionUnknown,
        NothingToRollBackTo and what `apply` raises for its text.
        """

        async def rolled_back() -> Outcome:
            record = self._before() if revision is None else self.history[revision]
            return await self._return_to(record, "rollback", actor, f"taken back by {actor}")

        return await self._run_to_completion(rolled_back, "rollback", actor)

    async def save(self, revision: int) -> None:
        """Write the text of the revision that runs to the file. Raises RevisionReplaced, ConfigError and OSError."""
        async with (
            self._serial.turn()
        ):  # behind whatever was asked for before: it may be on trial, which no file is to have
            if revision != self.revision:
                raise RevisionReplaced(revision, self.revision)
            try:
                async with asyncio.timeout(FILE_TIMEOUT_S):
                    await FILES.run(self.source.save, self.loaded.text)
            except TimeoutError:
                problem = f"not written within {FILE_TIMEOUT_S:g} s"
                raise TimeoutError(errno.ETIMEDOUT, problem, str(self.source.file)) from None

    # --- how it is done ---------------------------------------------------------------------------------------------

    async def _load(self, text: str | None, *, name: str | None = None) -> Loaded:
        """A text, or the file as it is now. Raises ConfigError."""
        try:
            async with asyncio.timeout(FILE_TIMEOUT_S):
                return await FILES.run(self.source.load, text, name=name)
        except TimeoutError:
            problem = f"cannot be read within {FILE_TIMEOUT_S:g} s"
            raise ConfigError([ConfigProblem(str(self.source.file or "defaults"), "", problem)]) from None

    def _plan(self, new: Loaded) -> Plan:
        plan = compare(self.loaded, new)
        return plan.counted(self._count_sessions(plan))

    async def _run(self, new: Loaded, plan: Plan, trigger: str, actor: str, *, on_trial: bool) -> None:
        """Raises what keeps it from running; nothing has changed then."""
        if self._is_over:
            raise ReloadTooLate
        # before the record: where the part that needs no restart is invalid by itself, nothing was tried
        running = replace(new, config=without(new.config, plan.restarts))
        # recorded first: after a crash in the middle, the next start finds a candidate and does not run it again
        record = await self._revisions.add("candidate", new.text, trigger, actor)
        try:
            await self._check(new)
            changes = await self._commit(running.config) if len(plan) > len(plan.restarts) else []
        except BaseException as error:
            add_places(error, new)
            await self._revisions.mark(record.revision, "rejected", str(error) or type(error).__name__)
            raise
        report_warnings(new.warnings, unless=self.loaded.warnings)
        # on a trial the one before must stay too, which a rollback runs again
        self.history.in_use = {record.revision, *([self.revision] if on_trial else [])}
        self.loaded, self.revision, self.pending_restart = running, record.revision, plan.restarts
        self.history.keep = running.config.control.keep
        if not on_trial:
            # Before the cleanup, after which a crash must not take the change back. A disk that hangs delays it only:
            # new addresses accept, and old ones close, with the cleanup.
            await self._revisions.mark(record.revision, "good")
        # Wait a little, so that the caller usually finds old addresses and plugins gone; but a plugin that hangs must
        # not keep an applied change from being reported.
        await asyncio.wait([self._serial.start(cleanup_all(changes))], timeout=CLEANUP_S)

    async def _commit(self, config: Config) -> list[PreparedChange]:
        """Switch every part to a configuration. Raises what one of them raises from ``prepare``, or ReloadFailed."""
        changes = await prepare_all(self._parts, config)
        if not commit_all(changes):
            changes += await self._restore()
            self._serial.start(cleanup_all(changes))
            raise ReloadFailed
        return changes

    async def _restore(self) -> list[PreparedChange]:
        """Switch every part back to the configuration that ran before, as far as possible."""
        try:
            changes = await prepare_all(self._parts, self.config)
        except Exception:
            _log.exception("the previous configuration could not be restored")
            return []
        commit_all(changes)
        return changes

    async def _return_to(self, record: Record, trigger: str, actor: str, why: str) -> Outcome:
        new = await self._load(record.text, name=f"revision {record.revision}")
        plan = self._plan(new)
        if new.text == self.loaded.text and not plan:
            return self._outcome("unchanged", trigger, actor)
        left = self.history[self.revision]
        await self._run(new, plan, trigger, actor, on_trial=False)
        self._trials.end()
        await self._revisions.mark(left.revision, "rolled back", why)
        return self._outcome("rolled back", trigger, actor, plan)

    def _before(self) -> Record:
        return self.trial.before if self.trial is not None else self._revisions.last_good(self.hash)

    # --- trials -----------------------------------------------------------------------------------------------------

    async def _end_trial_in_time(self, trial: Trial) -> None:
        await self._run_to_completion(lambda: self._judge(trial), "trial", "trial")

    async def _judge(self, trial: Trial) -> Outcome | None:
        """Confirm a trial whose time is over, or roll it back. Raises what keeps the rollback from running."""
        if self.trial is not trial:
            return None  # it was confirmed or rolled back while this waited for the lock
        problem = "not confirmed in time"
        if trial.keep_if_healthy and self._failed_checks is not None:
            if not (failed := await self._failed_checks()):
                return await self._confirm("trial", "trial")
            problem = "not healthy: " + "; ".join(failed)
        return await self._return_to(trial.before, "trial", "trial", problem)

    async def _confirm(self, trigger: str, actor: str) -> Outcome:
        if self.trial is None:
            raise NothingToConfirm
        await self._revisions.mark(self.trial.revision, "good")
        self.history.in_use = {self.revision}
        self._trials.end()
        return self._outcome("confirmed", trigger, actor)

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _outcome(self, result: Result, trigger: str, actor: str, plan: Plan = NOTHING) -> Outcome:
        confirm_by_ns = self.trial.confirm_by_ns if self.trial else None
        not_kept = self.history.not_kept(self.revision)
        return Outcome(
            result, self.revision, self._clock(), trigger, actor, plan, confirm_by_ns=confirm_by_ns, not_kept=not_kept
        )

    def _publish(self, outcome: Outcome) -> None:
        self.last = outcome
        report(outcome, self.observers)

    async def _run_to_completion(self, work: Callable[[], Awaitable[OutcomeT]], trigger: str, actor: str) -> OutcomeT:
        """Run one piece of work at a time, also where the caller is cancelled, and publish its outcome."""

        async def run() -> OutcomeT:
            self.trigger = trigger
            try:
                outcome = await work()
            except Exception as error:
                self._publish(replace(self._outcome("rejected", trigger, actor), error=error))
                raise
            if outcome is not None:
                self._publish(outcome)
            return outcome

        return await self._serial.run(run)
