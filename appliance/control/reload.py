"""The one way to another configuration: for SIGHUP, a changed file, the command line and the API alike.

Parse, validate, plan, write it down, let every part prepare, let all of them swap at once, and say that it is good.
What goes wrong before the swap leaves everything as it was. A configuration may run on trial: unless it is confirmed in
time, the one before comes back.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import structlog

from appliance.config.history import History, Record, State, hash_of
from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange, compare, without
from appliance.config.schema import Config
from appliance.config.source import Source, Start
from appliance.control.outcome import NOTHING, Outcome, Result, Trial
from appliance.control.parts import Change, Part, prepare_all, retire_all, swap_all
from appliance.errors import (
    ConfigError,
    ConfigProblem,
    ConfirmationPending,
    EtagMismatch,
    ForceNeeded,
    GatewayError,
    NothingToConfirm,
    NothingToRollBackTo,
    ReloadFailed,
    RestartNeeded,
)

_log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")
OutcomeT = TypeVar("OutcomeT", bound=Outcome | None)

RETIRE_S = 5.0
"""The longest that an apply waits for what it replaced to be released."""
RETRY_S = 5.0
"""Between attempts to take back what was not confirmed, where the one before cannot be had at once."""


class Reloads:
    """The configuration that runs, and the way to another one. An async context: entering it says that what was started
    with is good, leaving it ends all that is under way; a trial that is under way then counts as not confirmed.

    ``observers`` are called with every outcome. ``last`` is the latest one that was no mere look.
    """

    def __init__(
        self,
        start: Start,
        parts: Sequence[Part],
        *,
        touched: Callable[[Plan], Mapping[str, int]] = lambda _: {},
        complaints: Callable[[], Awaitable[Sequence[str]]] | None = None,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        """``touched`` counts the sessions that the change of each key concerns, by key. ``complaints`` says what is not
        well with the gateway, for trials that end well if nothing is."""
        self.source: Source = start.source
        self.history: History = start.history
        self.loaded: Loaded = start.loaded
        self.generation = start.record.revision if start.record else 0
        self.pending_restart: tuple[PlannedChange, ...] = ()
        self.trial: Trial | None = None
        self.observers: list[Callable[[Outcome], None]] = []
        self._start = start
        self._parts = parts
        self._touched = touched
        self._complaints = complaints
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.Task[None] | None = None
        self.last = Outcome("started", self.generation, clock(), "start", "start")

    async def __aenter__(self) -> Self:
        """Raises OSError where the history cannot be written."""
        for warning in self._start.warnings:
            _log.warning(warning)
        for record in list(self.history):
            if record.state == "candidate":
                self.history.mark(record.revision, "rolled back", "the process ended before it was known to be good")
        if self._start.record is None:
            self.generation = self._written_down("good", self.loaded.text, "start", "start").revision
        self._tell(replace(self.last, generation=self.generation))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what runs --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The configuration that runs."""
        return self.loaded.config

    @property
    def hash(self) -> str:
        """Of the text that runs."""
        return hash_of(self.loaded.text)

    @property
    def etag(self) -> str:
        """Another one for every configuration that runs, without quotes."""
        return f"{self.generation}-{self.hash[:16]}"

    async def differs_from_file(self) -> bool:
        """Whether the file says something else than what runs."""
        return await asyncio.to_thread(self.source.hash) != self.hash

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def plan(self, text: str | None = None) -> Plan:
        """What a text, or the file as it is now, would change. Raises ConfigError."""
        return self._plan(await asyncio.to_thread(self.source.load, text))

    async def review(
        self, text: str | None = None, *, allow_restart: bool = False, force: bool = False
    ) -> tuple[Plan, ConfigError | None]:
        """What `apply` would do with a text, and why it would not. Raises ConfigError for one that cannot be used."""
        new = await asyncio.to_thread(self.source.load, text)
        plan = self._plan(new)
        try:
            self._permit(plan, new, allow_restart=allow_restart, force=force)
        except (RestartNeeded, ForceNeeded) as error:
            return plan, error
        return plan, None

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
        """Run what a text, or the file as it is now, says; nothing is done where that runs already.

        ``if_match`` is the etag that must still be the one that runs. With ``confirm_within_s`` it is rolled back after
        that time unless it is confirmed, or with ``keep_if_healthy`` nothing is to be complained of. With
        ``allow_restart`` keys that only a start can change wait for it, and the others are applied. ``force`` is needed
        to remove every canister while there are sessions.

        Once begun it is seen through, also where the caller is cancelled. Raises ConfigError, RestartNeeded,
        ForceNeeded, EtagMismatch, ConfirmationPending, OSError, or what else a part raises; everything is as it was
        then.
        """

        async def applied() -> Outcome:
            if if_match is not None and if_match != self.etag:
                raise EtagMismatch(if_match, self.etag)
            if self.trial is not None:
                raise ConfirmationPending(self.trial.generation)
            new = await asyncio.to_thread(self.source.load, text)
            plan = self._plan(new)
            self._permit(plan, new, allow_restart=allow_restart, force=force)
            if new.text == self.loaded.text and not self._unsettled(plan):
                return self._outcome("unchanged", trigger, actor)
            before = self.history[self.generation]
            await self._run(new, plan, trigger, actor, on_trial=confirm_within_s is not None)
            if confirm_within_s is not None:
                self._begin_trial(before, confirm_within_s, keep_if_healthy)
            return self._outcome("applied", trigger, actor, plan)

        return await self._seen_through(applied, trigger, actor)

    async def attempt(self, *, trigger: str, actor: str) -> Outcome:
        """Run what the file says now; a refusal is logged and is the outcome."""
        with contextlib.suppress(Exception):
            return await self.apply(trigger=trigger, actor=actor)
        return self.last

    async def confirm(self, *, actor: str) -> Outcome:
        """Keep what runs on trial. Raises NothingToConfirm, and OSError where it cannot be written down."""
        return await self._seen_through(lambda: self._confirm("confirm", actor), "confirm", actor)

    async def roll_back(self, generation: int | None = None, *, actor: str) -> Outcome:
        """Run a generation of the history again; None: the one before the trial, else the last good one that differs.

        It becomes a generation of its own, and the one that ran counts as taken back. Raises RevisionUnknown,
        NothingToRollBackTo and what `apply` raises for its text.
        """

        async def rolled_back() -> Outcome:
            record = self._before() if generation is None else self.history[generation]
            return await self._return_to(record, "rollback", actor, f"taken back by {actor}")

        return await self._seen_through(rolled_back, "rollback", actor)

    async def save(self) -> None:
        """Write what runs to the file. Raises ConfigError and OSError."""
        async with self._lock:
            await asyncio.to_thread(self.source.save, self.loaded.text)

    # --- how it is done ---------------------------------------------------------------------------------------------

    def _plan(self, new: Loaded) -> Plan:
        plan = compare(self.loaded, new)
        return plan.counted(self._touched(plan))

    def _permit(self, plan: Plan, new: Loaded, *, allow_restart: bool, force: bool) -> None:
        """Raises RestartNeeded or ForceNeeded."""
        waiting = [change.key for change in self._unsettled(plan) if change in plan.restarts]
        if waiting and not allow_restart:
            problem = "a change waits for a start; restart the gateway, or allow it to wait for that"
            raise RestartNeeded([ConfigProblem(new.place_of(key), key, problem) for key in waiting])
        sessions = sum(change.sessions for change in plan if change.removes_canister)
        if sessions and not new.config.canisters and new.config.unlisted_canisters == "deny" and not force:
            problem = f"every canister would be removed while {sessions} sessions are open; force it if that is meant"
            raise ForceNeeded([ConfigProblem(new.place_of("canisters"), "canisters", problem)])

    def _unsettled(self, plan: Plan) -> list[PlannedChange]:
        """The changes without those that wait for a start already."""
        settled = [(change.path, change.new) for change in self.pending_restart]
        return [change for change in plan if (change.path, change.new) not in settled]

    async def _run(self, new: Loaded, plan: Plan, trigger: str, actor: str, *, on_trial: bool) -> None:
        """Raises what keeps it from being run; everything is as it was then."""
        record = await asyncio.to_thread(self._written_down, "candidate", new.text, trigger, actor)
        running = replace(new, config=without(new.config, plan.restarts))
        try:
            changes = await self._swapped(running.config) if len(plan) > len(plan.restarts) else []
        except BaseException as error:
            self._place(error, new)
            await self._mark(record, "rejected", str(error) or type(error).__name__)
            raise
        self.loaded, self.generation, self.pending_restart = running, record.revision, plan.restarts
        self.history.keep = running.config.control.keep
        if not on_trial:
            await self._mark(record, "good")
        # so that who asked finds it done, unless that takes its time
        await asyncio.wait([self._begin(retire_all(changes))], timeout=RETIRE_S)

    async def _swapped(self, config: Config) -> list[Change]:
        """Let every part follow a configuration. Raises what one of them raises where none has followed."""
        changes = await prepare_all(self._parts, config)
        if not swap_all(changes):
            changes += await self._put_back()
            self._begin(retire_all(changes))
            raise ReloadFailed
        return changes

    async def _put_back(self) -> list[Change]:
        """Let every part follow what ran before, as far as they do."""
        try:
            changes = await prepare_all(self._parts, self.config)
        except Exception:
            _log.exception("the configuration before could not be put back")
            return []
        swap_all(changes)
        return changes

    async def _return_to(self, record: Record, trigger: str, actor: str, why: str) -> Outcome:
        new = await asyncio.to_thread(self.source.load, record.text, name=f"revision {record.revision}")
        plan = self._plan(new)
        if new.text == self.loaded.text and not plan:
            return self._outcome("unchanged", trigger, actor)
        left = self.history[self.generation]
        await self._run(new, plan, trigger, actor, on_trial=False)
        self._end_trial()
        await self._mark(left, "rolled back", why)
        return self._outcome("rolled back", trigger, actor, plan)

    def _before(self) -> Record:
        if self.trial is not None:
            return self.trial.before
        judged = {self.hash}
        for record in self.history:
            if record.hash not in judged and record.state == "good":
                return record
            judged.add(record.hash)  # what was taken back once is not what to go back to
        raise NothingToRollBackTo

    # --- trials -----------------------------------------------------------------------------------------------------

    def _begin_trial(self, before: Record, seconds: float, keep_if_healthy: bool) -> None:
        confirm_by_ns = self._clock() + round(seconds * 1e9)
        self.trial = Trial(self.generation, before, confirm_by_ns, keep_if_healthy)
        self._timer = self._begin(self._await_confirmation(self.trial, seconds))

    def _end_trial(self) -> None:
        self.trial = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _await_confirmation(self, trial: Trial, seconds: float) -> None:
        await self._sleep(seconds)
        while self.trial is trial:
            with contextlib.suppress(Exception):  # it is told, and tried again
                await self._seen_through(lambda: self._judge(trial), "trial", "trial")
            await self._sleep(RETRY_S)

    async def _judge(self, trial: Trial) -> Outcome | None:
        """Raises what keeps the configuration before from being run."""
        if self.trial is not trial:
            return None
        problem = "not confirmed in time"
        if trial.keep_if_healthy and self._complaints is not None:
            if not (complaints := await self._complaints()):
                return await self._confirm("trial", "trial")
            problem = "not healthy: " + "; ".join(complaints)
        return await self._return_to(trial.before, "trial", "trial", problem)

    async def _confirm(self, trigger: str, actor: str) -> Outcome:
        if self.trial is None:
            raise NothingToConfirm
        await asyncio.to_thread(self.history.mark, self.trial.generation, "good")
        self._end_trial()
        return self._outcome("confirmed", trigger, actor)

    # --- what is written down and told ------------------------------------------------------------------------------

    def _written_down(self, state: State, text: str, trigger: str, actor: str) -> Record:
        """A new generation. Raises OSError."""
        file_hash = self.source.hash()
        return self.history.add(text, state, at_ns=self._clock(), actor=actor, trigger=trigger, file_hash=file_hash)

    async def _mark(self, record: Record, state: State, problem: str | None = None) -> None:
        """Where that cannot be written, a start will take it for unfinished: a reason to warn, not to fail."""
        try:
            await asyncio.to_thread(self.history.mark, record.revision, state, problem)
        except (OSError, GatewayError) as error:
            _log.error("the history cannot be written", generation=record.revision, state=state, cause=str(error))

    def _place(self, error: BaseException, new: Loaded) -> None:
        """Give the faults that a part found the place of their key."""
        if isinstance(error, ConfigError):
            error.problems = [
                problem if problem.place else replace(problem, place=new.place_of(problem.key))
                for problem in error.problems
            ]

    def _outcome(self, result: Result, trigger: str, actor: str, plan: Plan = NOTHING) -> Outcome:
        confirm_by_ns = self.trial.confirm_by_ns if self.trial else None
        return Outcome(result, self.generation, self._clock(), trigger, actor, plan, confirm_by_ns=confirm_by_ns)

    def _tell(self, outcome: Outcome) -> None:
        self.last = outcome
        facts = {"trigger": outcome.trigger, "actor": outcome.actor, "generation": outcome.generation}
        if outcome.error is not None:
            _log.error("configuration refused, the one before runs on", **facts, cause=outcome.problem)
        else:
            _log.info(f"configuration {outcome.result}", **facts, changes=[change.key for change in outcome.plan])
        for observer in self.observers:
            try:
                observer(outcome)
            except Exception:
                _log.exception("an observer of reloads failed")

    async def _seen_through(self, work: Callable[[], Awaitable[OutcomeT]], trigger: str, actor: str) -> OutcomeT:
        """One at a time, told, and not ended by the end of whoever asked."""

        async def told() -> OutcomeT:
            async with self._lock:
                try:
                    outcome = await work()
                except Exception as error:
                    self._tell(replace(self._outcome("rejected", trigger, actor), error=error))
                    raise
                if outcome is not None:
                    self._tell(outcome)
                return outcome

        return await asyncio.shield(self._begin(told()))

    def _begin(self, work: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have
