"""Runs the workers of a gateway: starts each, starts it again when it ends, and replaces all of them one by one.

The supervisor is not in the way of any message: it holds the listening sockets, and is the engine of the workers unless
they have another. It executes its workers, and never forks: it has threads by then.
"""

import asyncio
import math
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from appliance.cluster.local_engine.server import EngineServer
from appliance.errors import RestartUnderWay, WorkerFailed
from appliance.gateway.tasks import Tasks
from appliance.supervisor.sockets import Address, Sockets
from appliance.supervisor.worker import Worker
from appliance.worker.balance import mean_of
from appliance.worker.lifeline import REPORT_S
from appliance.worker.role import Role

_log = structlog.get_logger(__name__)

HAND_ON = signal.SIGUSR2
"""As for a gateway that is alone (``process.HAND_ON``)."""
EX_CONFIG = 78
"""Exit code of a worker whose configuration is invalid (sysexits.h)."""
PAUSE_S = 0.005
"""Between two times that the workers are told what they have together."""
UNUSED_S = 10.0
"""Time until a listening socket is closed that no worker uses: one that is being prepared is used by none yet."""


@dataclass(frozen=True)
class Orders:
    """How workers are started. ``command`` follows ``icws run --worker N``, ``node`` is the name of the machine in the
    cluster, and ``engine`` serves the workers, None where they have another. ``watchdog_s`` is that of each worker.
    """

    count: int
    folder: Path
    command: list[str]
    node: str
    engine: EngineServer | None
    watchdog_s: float | None = None


class Supervisor:
    """``workers`` are in the order of their numbers."""

    def __init__(self, orders: Orders) -> None:
        self.sockets = Sockets()
        self.started_at_ns = time.time_ns()
        self.workers = [
            Worker(
                Role(number, orders.count, orders.folder),
                orders.command,
                bind=self._bind,
                changed=self._on_change,
            )
            for number in range(1, orders.count + 1)
        ]
        self.stop_s: Callable[[], float] = lambda: math.inf
        """The longest that a worker may take to end, before it is killed."""
        self.restart_problem: str | None = None
        """Why the last restart of all workers was given up."""
        self.engine = orders.engine
        self._orders = orders
        self._tasks = Tasks()
        self._keeping: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._counted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._have_been_ready = False
        self._awaited: set[Worker] = set()
        self._unused_since: float | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._fatal: int | None = None

    # --- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> int | None:
        """Start the workers, the first one alone: it creates what does not exist, such as the key. Returns None once
        all are ready, or the exit code of one that cannot start at all.
        """
        self._tasks.start(self._balance())
        for group in (self.workers[:1], self.workers[1:]):
            self._keeping += [self._tasks.start(self._keep(each)) for each in group]
            await self._until(lambda: all(each.ready.is_set() for each in self.workers[: len(self._keeping)]))
            if self._fatal is not None or self._stopping.is_set():
                return self._fatal or 0
        self._have_been_ready = True
        return None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Have every worker end, by this signal; a second time, at once."""
        self._stopping.set()
        if self._restarting is not None:
            self._restarting.cancel()
        for each in self.workers:
            each.send(number)
        self._changed.set()

    async def ended(self) -> None:
        """Wait until every worker has ended for good."""
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._tasks.cancel()
        self.sockets.close()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or until the supervisor stops."""
        while not (condition() or self._stopping.is_set() or self._fatal is not None):
            self._changed.clear()
            await self._changed.wait()

    def node_of(self, worker: Worker) -> str:
        """The name of a worker as a node of the cluster."""
        return worker.role.node(self._orders.node)

    # --- one worker ---------------------------------------------------------------------------------------------------

    async def _keep(self, worker: Worker) -> None:
        """Run a worker until the supervisor stops."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                code = await worker.run(self._orders.watchdog_s, self._stopping)
            except OSError as error:
                code, worker.problem = -1, str(error)
            if self.engine is not None:
                self.engine.died(self.node_of(worker))
            if self._stopping.is_set():
                return
            await self._again(worker, code, time.monotonic() - began)

    async def _again(self, worker: Worker, code: int, ran_s: float) -> None:
        """Wait until a worker that has ended may start again."""
        if code == EX_CONFIG and not self._have_been_ready:
            self._fatal = code
            self._stopping.set()
            self.stop()
            return
        if worker in self._awaited:
            self._awaited.discard(worker)
            return
        worker.restarts = worker.restarts.ended(ran_s)
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        worker.problem = f"it ended {how}"
        _log.error(
            "a worker has ended and is started again",
            worker=worker.role.number,
            how=how,
            again_in_s=worker.restarts.wait_s,
        )
        self._changed.set()
        await self._until_stop(worker.restarts.wait_s)

    async def _until_stop(self, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        while not self._stopping.is_set() and (left_s := give_up_at - time.monotonic()) > 0:
            await self._until_changed(left_s)

    async def _until_changed(self, within_s: float) -> None:
        """Until something has changed, so long at most."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()

    # --- all of them, one by one --------------------------------------------------------------------------------------

    @property
    def is_restarting(self) -> bool:
        """Whether the workers are replaced now."""
        return self._restarting is not None and not self._restarting.done()

    def check_restart(self) -> None:
        """Raises RestartUnderWay where the workers are replaced, or end."""
        if self.is_restarting or self._stopping.is_set():
            raise RestartUnderWay

    def restart(self) -> None:
        """Replace the workers one by one, each by a process that is ready before the next one ends. Raises
        RestartUnderWay.
        """
        self.check_restart()
        self.restart_problem = None
        self._restarting = self._tasks.start(self._restart())

    async def _restart(self) -> None:
        for worker in self.workers:
            try:
                await self._replace(worker)
            except WorkerFailed as error:
                self.restart_problem = str(error)
                _log.error("the restart of the workers is given up", cause=str(error))
                return
        _log.info("every worker has been replaced")

    async def _replace(self, worker: Worker) -> None:
        """Raises WorkerFailed."""
        worker.restarts = type(worker.restarts)()  # only what fails from now on counts
        before = worker.starts
        if worker.state != "down":
            self._awaited.add(worker)
            worker.send(HAND_ON)
        give_up_at = time.monotonic() + self.stop_s()
        while worker.starts == before and not self._stopping.is_set():
            await self._until_changed(1.0)
            if time.monotonic() >= give_up_at and worker.starts == before:
                worker.send(signal.SIGKILL)
        await self._until(lambda: worker.starts > before and (worker.ready.is_set() or worker.restarts.failures > 0))
        if not worker.ready.is_set():
            raise WorkerFailed(worker.role.number, worker.problem or "it did not start")
        worker.restarts = type(worker.restarts)()

    # --- their sockets and their shares -------------------------------------------------------------------------------

    def _bind(self, family: int, address: Address) -> socket.socket:
        self._unused_since = None
        return self.sockets.at(family, address)

    def _on_change(self) -> None:
        self._changed.set()
        self._counted.set()

    async def _balance(self) -> None:
        """Tell the workers what they have together."""
        told: tuple[object, ...] = ()
        told_at = 0.0
        while True:
            self._counted.clear()
            # Not wait_for, which before Python 3.12 takes a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._counted.wait()
            now = time.monotonic()
            taking = [each for each in self.workers if each.takes_part(now)]
            mean = mean_of([each.connections for each in taking])
            if (shares := (mean, *(each.connections for each in taking))) != told or now - told_at >= 1.0:
                told, told_at = shares, now
                for each in taking:
                    each.tell({"mean": mean, "own": each.connections})
            self._close_unused(now)
            await asyncio.sleep(PAUSE_S)

    def _close_unused(self, now: float) -> None:
        used = set[object]().union(*(each.listens for each in self.workers))
        if all(one.getsockname() in used for one in self.sockets) or not all(
            each.ready.is_set() and each.listens for each in self.workers
        ):
            self._unused_since = None
        elif self._unused_since is None:
            self._unused_since = now
        elif now - self._unused_since >= UNUSED_S:
            self.sockets.keep(used)
