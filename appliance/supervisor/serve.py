"""The process of ``icws run`` with several workers: signals, the service manager, the control plane."""

import asyncio
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

import structlog

from appliance import task_end
from appliance.cluster.joining import machine_name
from appliance.cluster.local_engine.board import Board
from appliance.cluster.local_engine.server import EngineServer
from appliance.config.fields.address import UnixAddress, parse_address
from appliance.config.schema import Cluster, Config
from appliance.config.source import Source, Start
from appliance.config.watch.watch import Watch, watch_of
from appliance.control.auth.access import AccessControl, Actor
from appliance.control.auth.tokens import Tokens
from appliance.control.health.systemd import Notifier
from appliance.control.http.head import HeadAsGet
from appliance.control.http.problems import Problem
from appliance.control.http.server import Permissions, Server
from appliance.control.observe.metrics_server import MetricsServer
from appliance.errors import ConfigError, GatewayError, WorkerAway, WorkersUnsupported
from appliance.gateway.limits.descriptors import raise_limit
from appliance.gateway.limits.rate_limits import Limits
from appliance.gateway.tasks import Tasks
from appliance.supervisor.control.asking import Question, ask
from appliance.supervisor.control.changes import Changes
from appliance.supervisor.control.events import MergedEvents
from appliance.supervisor.control.front import Front
from appliance.supervisor.supervisor import HAND_ON, Orders, Supervisor
from appliance.threads import FILE_TIMEOUT_S, FILES

_log = structlog.get_logger(__name__)

_STOP = (signal.SIGINT, signal.SIGTERM)
STATUS_S = 5.0
"""How often the metrics at an address of their own are read from the workers, and the status is."""
SOON_S = 0.5
"""How often the metrics are while a worker is not ready."""
BEYOND_S = 30.0
"""For a worker to end, after the time that ``drain`` gives it: one that hangs is killed then."""
HURRY_S = 10.0
"""The same after a second signal."""


async def supervise(begun: Start, command: Sequence[str], count: int) -> int:
    """Run so many workers until SIGINT or SIGTERM; a second one ends them at once. SIGHUP reloads, SIGUSR2 ends this
    process for the next one. ``command`` is what each worker is started with. Returns the exit code.

    Raises WorkersUnsupported, ConfigError, and OSError where the control plane cannot be served.
    """
    if not sys.platform.startswith("linux"):
        raise WorkersUnsupported
    raise_limit()
    notifier = Notifier.from_environment()
    with _folder() as folder:
        async with _engine(begun.loaded.config, folder) as engine:
            cluster = begun.loaded.config.cluster or Cluster()
            orders = Orders(count, folder, list(command), cluster.node or machine_name(), engine, notifier.watchdog_s)
            return await _Service(begun, Supervisor(orders), notifier).run()


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the sockets between supervisor and workers. Its path must be short (unix(7)), and it is private.

    Under systemd it is in the runtime directory of the unit: what is in /tmp is removed when it is old.
    """
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
    folder = Path(tempfile.mkdtemp(prefix="icws-", dir=runtime))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _engine(config: Config, folder: Path) -> AsyncIterator[EngineServer | None]:
    """The engine of the workers, None where the configuration names another."""
    cluster = config.cluster or Cluster()
    if cluster.url is not None:
        yield None
        return
    board = Board(limit=cluster.claims, keeps=False)
    board.flush()  # what an earlier supervisor held is lost
    async with EngineServer(board, folder / "engine.sock") as server:
        yield server


class _Service:
    """Everything around a supervisor."""

    def __init__(self, begun: Start, supervisor: Supervisor, notifier: Notifier) -> None:
        self._source: Source = begun.source
        self._config: Config = begun.loaded.config
        self._watched = watch_of(begun)
        self._supervisor = supervisor
        supervisor.stop_s = self._stop_s
        self._notifier = notifier
        self._tasks = Tasks()
        self._tokens = Tokens(self._config.control.tokens)
        self._limits = Limits(self._config)
        self._changes = Changes(supervisor, self._follow)
        self._events = MergedEvents(lambda: self._tasks.start(self._follow()))
        self._following = asyncio.Lock()
        self._followed = asyncio.Event()
        self._on_trial: str | None = None
        self._front = Front(supervisor, self._changes, self._events)
        self._metrics = b""

    async def run(self) -> int:
        """Returns the exit code."""
        supervisor = self._supervisor
        with _Signals(self) as signals:
            try:
                async with self._control():
                    self._events.follow(supervisor.workers)
                    failed = await supervisor.start()
                    if failed is None:
                        _log.info("every worker is ready", workers=len(supervisor.workers))
                        self._begin()
                        signals.have_started = True
                        await signals.stop.wait()
                        await self._wind_down(signals)
                    await supervisor.ended()
            finally:
                await self._tasks.cancel()
                supervisor.stop(signal.SIGKILL)
                await supervisor.ended()
        return failed or signals.code

    def _begin(self) -> None:
        self._notifier.ready(self._status())
        self._tasks.start(self._notifier.watch())
        self._tasks.start(self._notifier.follow(self._status))
        if self._watched is not None:
            self._tasks.start(self._watch(self._watched))

    async def _wind_down(self, signals: "_Signals") -> None:
        _log.info("stopping", workers=len(self._supervisor.workers), hands_on=signals.hands_on)
        reporting = asyncio.ensure_future(self._notifier.stopping(self._status, self._stop_s()))
        # Where nobody keeps the sockets, clients would wait for a next process in queues that end with this one.
        is_kept = signals.hands_on and self._supervisor.sockets.outlive
        self._supervisor.stop(HAND_ON if is_kept else signal.SIGTERM)
        ending, kill_at = asyncio.ensure_future(self._supervisor.ended()), time.monotonic() + self._stop_s()
        try:
            while not ending.done():
                await asyncio.wait({ending}, timeout=1.0)
                if time.monotonic() >= min(kill_at, signals.hurried_at + HURRY_S):
                    self._supervisor.stop(signal.SIGKILL)
        finally:
            await task_end.cancel(reporting)

    def _stop_s(self) -> float:
        """The longest that a stop of a worker may take."""
        return self._config.drain.grace + self._config.drain.deadline + BEYOND_S

    def _status(self) -> str:
        """The line that ``systemctl status`` shows."""
        workers = self._supervisor.workers
        ready = sum(each.ready.is_set() for each in workers)
        connections = sum(each.connections for each in workers)
        return f"{ready} of {len(workers)} workers ready, {connections} connection{'s' * (connections != 1)}"

    # --- the configuration --------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Have all workers apply the file as it is now, as SIGHUP asks for."""
        self._tasks.start(self._on_signal())

    async def _on_signal(self) -> None:
        await self._reload("signal")

    async def _reload(self, trigger: str) -> bool:
        """Returns whether all workers have made it."""
        question = Question(
            "POST",
            "/v1/config/apply",
            Actor(trigger, "admin", trigger),
            b"{}",
            {"Content-Type": "application/json"},
        )
        with self._notifier.reloading():
            try:
                said = await self._changes.make(question)
            except (Problem, GatewayError) as error:
                _log.error("the reload was refused", cause=str(error))
                return False
        if not said.is_good:
            _log.error("the reload was refused", cause=said.json.get("detail"))
        return said.is_good

    async def _follow(self) -> None:
        """Use what of the configuration of the workers is for the supervisor. That is not always the file: a text may
        run that was not saved, and one that was may have been rolled back.
        """
        first = self._supervisor.workers[0].role
        async with self._following:
            try:
                said = (await ask(first.number, first.control, Question("GET", "/v1/config"))).json
                async with asyncio.timeout(FILE_TIMEOUT_S):
                    config = (await FILES.run(self._source.load, str(said["text"]))).config
                tokens = await self._tokens.prepare(config)
            except (WorkerAway, ConfigError, OSError, ValueError, KeyError) as error:
                _log.warning("what the workers run is not known, and what ran before is used", cause=str(error))
                return
            self._config = config
            self._limits.follow(config)
            tokens.commit()
            self._on_trial = None if said["confirm_by"] is None else str(said["hash"])
            self._followed.set()

    async def _watch(self, watch: Watch) -> None:
        watch.files = lambda: self._source.files(self._config)
        async for _ in watch:
            # No further notice will come of a change that a trial keeps out. The text that was on trial is judged.
            while not await self._reload("watch") and (judged := self._on_trial) is not None:
                while self._on_trial is not None:
                    self._followed.clear()
                    await self._followed.wait()
                if await self._file_hash() == judged:
                    break

    async def _file_hash(self) -> str | None:
        with suppress(OSError):  # of a file system that hangs
            return await FILES.run_once((self, "hash"), self._source.hash)
        return None

    # --- the control plane --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _control(self) -> AsyncIterator[None]:
        settings = self._config.control
        permissions = Permissions(int(settings.mode, 8), settings.group)
        async with AsyncExitStack() as stack:
            for listen in settings.listen:
                address = parse_address(listen)
                guarded = AccessControl(
                    HeadAsGet(self._front),
                    self._tokens,
                    over="unix" if isinstance(address, UnixAddress) else "tcp",
                    hosts=lambda: self._config.control.hosts,
                    exceeded=self._limits.control_request,
                )
                await stack.enter_async_context(Server(guarded, address, "control plane", permissions))
            if (listen_metrics := self._config.metrics.listen) is not None:
                self._metrics = await self._front.metrics()
                self._tasks.start(self._read_metrics())
                await stack.enter_async_context(MetricsServer(lambda: self._metrics, parse_address(listen_metrics)))
            stack.push_async_callback(self._events.close)
            yield

    async def _read_metrics(self) -> None:
        while True:
            is_whole = all(each.ready.is_set() for each in self._supervisor.workers)
            self._metrics = await self._front.metrics()
            await asyncio.sleep(STATUS_S if is_whole else SOON_S)


class _Signals:
    """SIGINT, SIGTERM, SIGHUP and SIGUSR2, as they are for a gateway that is one process (``process``)."""

    def __init__(self, service: _Service) -> None:
        self.stop = asyncio.Event()
        self.have_started = False
        self.hands_on = False
        self.code = 0
        self.hurried_at = math.inf
        self._service = service

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(HAND_ON, self._on_hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (*_STOP, signal.SIGHUP, HAND_ON):
            loop.remove_signal_handler(number)

    def _on_stop(self) -> None:
        if self.stop.is_set() or not self.have_started:
            if self.stop.is_set():
                self.code, self.hurried_at = 130, min(self.hurried_at, time.monotonic())
            self._service._supervisor.stop(signal.SIGTERM)
        self.stop.set()

    def _on_hand_on(self) -> None:
        if not self.stop.is_set():
            self.hands_on, self.code = True, 75
            self._on_stop()

    def _on_reload(self) -> None:
        if self.have_started and not self.stop.is_set():
            self._service.reload()
        else:
            _log.info("no reload while the gateway starts or stops")
