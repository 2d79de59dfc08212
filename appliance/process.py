"""The process of ``icws run``: signals, the service manager, and files that are watched."""

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Self

import structlog

from appliance import task_end
from appliance.config.load import DEFAULT
from appliance.config.source import Source, Start, start
from appliance.config.watch.watch import Watch, watch_of
from appliance.control.control import Control
from appliance.control.health.systemd import Notifier
from appliance.control.reload.outcome import Outcome
from appliance.control.reload.reloads import Reloads
from appliance.errors import ConfigError, ConfirmationPending
from appliance.gateway.journal.journal import NoJournal
from appliance.gateway.limits.descriptors import raise_limit
from appliance.gateway.limits.memory import return_large_buffers
from appliance.gateway.tasks import Tasks
from appliance.log import Logging
from appliance.service import WATCH, Service, operating
from appliance.threads import CLIENT_VERIFICATION, FILE_TIMEOUT_S, FILES, VERIFICATION
from appliance.worker.lifeline import Lifeline, Part

_log = structlog.get_logger(__name__)

COLLECTION_THRESHOLDS = 10_000, 20, 50
"""Young objects (more made than freed) before they are looked at, and how many such looks make one at older ones. A
look at 10,000 objects takes about 1 ms."""
_STOP = (signal.SIGINT, signal.SIGTERM)
HAND_ON = signal.SIGUSR2
"""Ends the process for the next one."""
_WATCH_CHANGED = (
    "watch is false where it is not written, since this release: a change of the file waits for `icws reload`. "
    "Write watch: true, or start with --watch, to apply changes by themselves; write watch: false to omit this line"
)


async def run(begun: Start, logging: Logging, lifeline: Lifeline | None = None) -> bool:
    """Serve until SIGINT or SIGTERM, then drain and stop. SIGHUP and a changed file start a reload. A second SIGINT or
    SIGTERM stops at once, by cancelling the task this runs in and leaving no time for what follows; so does the first
    while the gateway still starts.
    SIGUSR2 closes the sessions and leaves newcomers, and close calls that take long, to the process that the service
    manager starts next: then this returns True.

    A worker has a ``lifeline``, and stops when its supervisor does. Its supervisor makes the reloads.

    Raises what `operating` raises.
    """
    raise_limit()
    return_large_buffers()
    if lifeline is not None:
        for threads in (VERIFICATION, CLIENT_VERIFICATION):
            threads.share(lifeline.role.count)
    watch = watch_of(begun) if lifeline is None else None
    with _Signals() as signals, lifeline.held() if lifeline is not None else nullcontext():
        following = None if lifeline is None else asyncio.ensure_future(_follow_lifeline(lifeline, signals))
        try:
            async with operating(begun, logging, None if lifeline is None else lifeline.role) as (service, control):
                reporting = None if lifeline is None else asyncio.ensure_future(_report(lifeline, service))
                try:
                    await _operate(service, control, begun, signals, watch)
                finally:
                    if reporting is not None:
                        reporting.cancel()
        except asyncio.CancelledError:
            if signals.have_started or not signals.stop.is_set():
                raise
            _log.info("stopped before the start was complete")
        finally:
            if following is not None:
                following.cancel()
    return signals.hands_on


async def _follow_lifeline(lifeline: Lifeline, signals: "_Signals") -> None:
    await lifeline.is_cut.wait()
    _log.error("the supervisor has ended, so this worker stops")
    signals.end()


async def _report(lifeline: Lifeline, service: Service) -> None:
    listener = service.listener

    def accept(has_enough: bool) -> bool:
        listener.rest(has_enough)
        return listener.accepts

    def listens() -> list[object]:
        return [one.getsockname() for bound in listener.bound for one in bound.sockets]

    listener.on_arrival = lifeline.arrived
    await lifeline.report_on(Part(lambda: len(listener), accept, listens))


async def _operate(service: Service, control: Control, begun: Start, signals: "_Signals", watch: Watch | None) -> None:
    """Serve until a signal, then drain."""
    tasks, notifier, reloads = Tasks(), Notifier.from_environment(), control.reloads
    try:
        signals.begin(lambda: tasks.start(_on_signal(reloads, notifier)), service.gateway.hurry)
        # the wording of the reference gateway, because scripts search for this line
        _log.info(f"Gateway Agent principal: {service.principal!s}")
        if watch is not None:
            tasks.start(_follow_files(watch, reloads, notifier))
        elif begun.source.file is not None and begun.loaded.origins["watch"] == DEFAULT:
            _log.warning(_WATCH_CHANGED)  # until release 0.2.0
        status = partial(_status, service, reloads)
        reloads.observers.append(lambda _: notifier.status(status()))
        tasks.start(notifier.watch(control.health.is_alive))
        tasks.start(notifier.follow(status))
        notifier.ready(status())
        _tune_garbage_collection()
        await signals.stop.wait()
        signals.end_reloads()
        reloads.end()
        await _wind_down(service, notifier, reloads.source if signals.hands_on else None)
    finally:
        await tasks.cancel()


def _tune_garbage_collection() -> None:
    """Leave what the start has made out of every collection, and collect young objects less often.

    References are counted, so messages and sessions need no collector: it frees cycles, and the paths of messages make
    none (``tests/gateway/test_garbage.py``). With CPython's defaults it took a fifth of an echo's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)


async def _reload(reloads: Reloads, notifier: Notifier, trigger: str) -> Outcome:
    """Apply the file as it is now. A refusal is logged, and shown by the control plane."""
    with notifier.reloading():
        return await reloads.attempt(trigger=trigger, actor=trigger)


async def _on_signal(reloads: Reloads, notifier: Notifier) -> None:
    await _reload(reloads, notifier, "signal")


async def _follow_files(watch: Watch, reloads: Reloads, notifier: Notifier) -> None:
    watch.files = lambda: reloads.source.files(reloads.config)
    async for _ in watch:
        error = (await _reload(reloads, notifier, WATCH)).error
        # No further notice will come of a change that a trial keeps out.
        while isinstance(error, ConfirmationPending) and await reloads.differs_after_trial(error.revision):
            error = (await _reload(reloads, notifier, WATCH)).error


def _status(service: Service, reloads: Reloads) -> str:
    """The line that ``systemctl status`` shows."""
    refused = "" if reloads.last.is_good else f"; the last reload was refused: {reloads.last.problem}"
    count = len(service.gateway.hub)
    return f"Serving {count} session{'s' * (count != 1)} at {service.url}, configuration {reloads.revision}{refused}"


async def _wind_down(service: Service, notifier: Notifier, next_source: Source | None) -> None:
    """``next_source`` is what the next process starts with, None if nothing is left to one."""
    gateway, listener = service.gateway, service.listener
    policy = gateway.config.drain
    hands_on = next_source is not None
    _log.info("stopping", connections=len(listener), hands_on=hands_on)
    reporting = asyncio.ensure_future(
        notifier.stopping(lambda: f"draining, {len(listener)} connections left", policy.grace + policy.deadline)
    )
    try:
        if hands_on:
            await listener.pause()
        # Load balancers need no grace where nobody is refused.
        await gateway.wind_down(with_grace=not (hands_on and listener.outlives))
        if next_source is not None and await _goes_on(service, next_source):
            gateway.hand_on()
    finally:
        await task_end.cancel(reporting)


async def _goes_on(service: Service, next_source: Source) -> bool:
    """Whether the next process will find the clients of this one in its journal: else nobody would call ``ws_close``
    for those that are left.
    """
    if isinstance(service.gateway.journal, NoJournal) or service.identities is None:
        return False
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            coming = await FILES.run(start, next_source)
    except (ConfigError, TimeoutError):
        return False
    return await service.identities.will_be_those_of(coming.loaded.config)


class _Signals:
    """SIGINT, SIGTERM and SIGHUP from the first moment to the last, since by default each ends a process in the middle
    of whatever it does. SIGINT and SIGTERM set ``stop``; the second one cancels the task that entered this, and so does
    the first before ``begin``. SIGHUP does nothing while the gateway starts or stops. SIGUSR2 is a first SIGTERM, and
    sets ``hands_on``; later it does nothing.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.have_started = False
        self.hands_on = False
        self._reload: Callable[[], object] | None = None
        self._hurry: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        for number in _STOP:
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(HAND_ON, self._on_hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (*_STOP, signal.SIGHUP, HAND_ON):
            loop.remove_signal_handler(number)

    def begin(self, reload: Callable[[], object], hurry: Callable[[], None]) -> None:
        """The gateway serves. It follows SIGHUP by ``reload``; after ``hurry`` it waits for nothing when it stops."""
        self.have_started, self._reload, self._hurry = True, reload, hurry

    def end_reloads(self) -> None:
        """The gateway stops."""
        self._reload = None

    def end(self) -> None:
        """As the first SIGTERM; nothing where that has come."""
        if not self.stop.is_set():
            self._on_stop()

    def _on_stop(self) -> None:
        if (self.stop.is_set() or not self.have_started) and self._task is not None:
            self._hurry()  # each step of the stop that is still to come has a time of its own
            self._task.cancel()
        self.stop.set()

    def _on_hand_on(self) -> None:
        if not self.stop.is_set():
            self.hands_on = True
            self.end()

    def _on_reload(self) -> None:
        if self._reload is not None:
            self._reload()
        else:
            _log.info("no reload while the gateway starts or stops")
