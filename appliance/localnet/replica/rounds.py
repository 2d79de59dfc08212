"""When messages are executed: in rounds, which begin when there is a message or a timer is due.

A round is what a block is on the IC: it takes messages off the executor's queue in their order, and what they change
is in the certified state from then on. `CertifiedState` signs that state when the next certificate is wanted.
"""

import asyncio

from appliance import task_end
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.replica.executor import Executor
from appliance.localnet.state.clock import Clock, TimerHandle
from appliance.localnet.state.ingress import IngressHistory

ROUND_LIMIT = 100
"""Messages that one round executes; then other tasks of the event loop have their turn."""

ROUND_INSTRUCTIONS = 200_000_000
"""A round also ends after this many instructions, which take about a tenth of a second."""

HEARTBEAT_NS = 1_000_000_000
"""Time between two heartbeats of a canister; about the time between two blocks."""


class Rounds:
    """Runs rounds in a task from `start` to `stop`. Tests without an event loop call `run_one` themselves."""

    def __init__(self, canisters: CanisterRecords, executor: Executor, ingress: IngressHistory, clock: Clock) -> None:
        self._canisters = canisters
        self._executor = executor
        self._ingress = ingress
        self._clock = clock
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._timer: TimerHandle | None = None
        self._timer_due_ns = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to execute. Needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="localnet replica")

    async def stop(self) -> None:
        """Execute nothing more; messages stay in the queue."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await task_end.cancel(self._task)

    def wake(self) -> None:
        """Run a round soon: a message was put into the queue, or a canister was started."""
        self._wake.set()

    def arm_timer(self) -> None:
        """Wake up when the earliest timer or heartbeat is due. To be called after every change of one."""
        earliest = self._next_due_ns()
        if earliest == self._timer_due_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_ns = earliest
        self._timer = self._clock.call_at(earliest, self._on_timer) if earliest else None

    async def settle(self) -> None:
        """Wait until every message in the queue and every timer that is due has been executed."""
        self._idle.clear()
        self._wake.set()
        await self._idle.wait()

    def is_due(self) -> bool:
        """Whether a timer or heartbeat is to be executed now."""
        return 0 < self._next_due_ns() <= self._clock.now_ns()

    def run_one(self) -> None:
        """Run one round: the timers and heartbeats that are due, then messages in their order."""
        now_ns = self._clock.now_ns()
        self._ingress.prune()
        for record in list(self._canisters):
            self._execute_tasks(record, now_ns)
        limit = self._executor.instructions + ROUND_INSTRUCTIONS
        # Only what is queued now, so that a canister that calls itself for ever does not make the round endless.
        for _ in range(min(ROUND_LIMIT, len(self._executor))):
            self._executor.execute()
            if self._executor.instructions > limit:
                break

    # --- steps ---

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # Cleared before the rounds: a wake-up during the last round must not be lost.
            self._wake.clear()
            while self._executor or self.is_due():
                self.run_one()
                await asyncio.sleep(0)
            self.arm_timer()
            self._idle.set()

    def _execute_tasks(self, record: CanisterRecord, now_ns: int) -> None:
        # The next time is set before the execution: the canister may set its timer again, and a trap must not leave
        # the old one due, which would be executed in every round.
        if record.canister is not None and 0 < _due_ns(record.timer_ns, record) <= now_ns:
            record.timer_ns = 0
            self._executor.execute_task(record, record.canister.on_timer, "timer")
        if record.actor is not None and 0 < _due_ns(record.heartbeat_ns, record) <= now_ns:
            record.heartbeat_ns = now_ns + HEARTBEAT_NS
            self._executor.execute_task(record, record.actor.on_heartbeat, "heartbeat")

    def _next_due_ns(self) -> int:
        """When the next timer or heartbeat is due; 0 without any."""
        times = (_due_ns(due, record) for record in self._canisters for due in (record.timer_ns, record.heartbeat_ns))
        return min((due for due in times if due), default=0)

    def _on_timer(self) -> None:
        self._timer, self._timer_due_ns = None, 0
        self._wake.set()


def _due_ns(time_ns: int, record: CanisterRecord) -> int:
    """The same time; 0 while the canister is stopping or stopped."""
    return time_ns if record.status == "running" else 0
