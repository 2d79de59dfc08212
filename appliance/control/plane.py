"""Builds the control plane of a running gateway, and serves it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

from starlette.routing import BaseRoute

from appliance.config.fields.address import UnixAddress, parse_address
from appliance.config.operation import Control as Settings
from appliance.control.app import create_app
from appliance.control.auth.access import AccessControl, Vouched
from appliance.control.auth.audit import Audit
from appliance.control.auth.tokens import Tokens
from appliance.control.control import Control, Log
from appliance.control.for_nodes import describing, serve_nodes
from appliance.control.health.cluster import ClusterNode, problem_of
from appliance.control.health.health import Health
from appliance.control.health.loop_lag import LoopLagMonitor
from appliance.control.http.encoding import timestamp
from appliance.control.http.head import HeadAsGet
from appliance.control.http.server import Permissions, Server
from appliance.control.models import AuditEntry, DrainProgress, EventKind, Plugin
from appliance.control.observe.drains import Drains
from appliance.control.observe.events import Events
from appliance.control.observe.metrics_history import MetricsHistory, Taken, take
from appliance.control.observe.metrics_server import MetricsServer
from appliance.control.reload.outcome import Outcome
from appliance.control.reload.reloads import Reloads
from appliance.control.routes.overview import reload_shown
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Happening
from appliance.gateway.sockets.listener import Listener
from appliance.gateway.tasks import Tasks


@dataclass(frozen=True)
class Behind:
    """The control plane of a worker: its supervisor alone asks it, at ``socket``, and says for whom. It serves no
    metrics by themselves, and one worker alone ``keeps_audit`` on disk.
    """

    socket: Path
    keeps_audit: bool


AUDIT_FILE = "audit.jsonl"
"""In the folder of the history."""
DRAIN_EVENTS_S = 1.0
"""How often the progress of drains is published."""
_BY_API = frozenset({"api", "confirm", "rollback"})
"""Triggers of reloads that are operations of the API, so that the audit log has them already."""


@asynccontextmanager
async def control_plane(
    gateway: Gateway,
    listener: Listener,
    reloads: Reloads,
    *,
    tokens: Tokens,
    health: Health,
    loop_lag: LoopLagMonitor,
    log: Log,
    version: str,
    metrics: Callable[[], bytes],
    plugins: Callable[[], Sequence[Plugin]] = tuple,
    page: Sequence[BaseRoute] = (),
    node: ClusterNode | None = None,
    behind: Behind | None = None,
) -> AsyncIterator[Control]:
    """Serve the API at ``control.listen`` until the block is left; without an address, everything but the API runs.

    ``tokens`` must be among the parts that ``reloads`` changes. The caller sets ``health.started`` once the gateway
    accepts connections. ``behind`` is that of a worker. Raises OSError if an address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    settings = reloads.config.control
    history = settings.history if behind is None or behind.keeps_audit else None
    events = Events()

    def sample() -> Taken:
        return take(gateway, listener, metrics_history.charted())

    metrics_history = MetricsHistory(sample)

    def publish_entry(entry: AuditEntry) -> None:
        events.publish("audit", entry.model_dump())

    def publish_drain(progress: DrainProgress) -> None:
        events.publish("drain", progress.model_dump())

    control = Control(
        version=version,
        gateway=gateway,
        listener=listener,
        reloads=reloads,
        log=log,
        tokens=tokens,
        audit=Audit(history and history / AUDIT_FILE, on_entry=publish_entry),
        events=events,
        health=health,
        loop_lag=loop_lag,
        metrics_history=metrics_history,
        drains=Drains(gateway, publish_drain, loop.time),
        metrics=metrics,
        plugins=plugins,
        node=node,
        is_worker=behind is not None,
    )
    if node is not None:
        control.problems.append(partial(problem_of, node))
    async with metrics_history, _publishing(control):
        if behind is not None:
            async with _served_behind(control, behind, page):
                yield control
            return
        async with _served(control, settings, page), _metrics(control):
            yield control


@asynccontextmanager
async def _served_behind(control: Control, behind: Behind, page: Sequence[BaseRoute]) -> AsyncIterator[None]:
    app = Vouched(HeadAsGet(create_app(control, page=page)))
    async with Server(app, UnixAddress(behind.socket), "control plane of a worker", Permissions(0o600)) as server:
        control.urls.append(server.url)
        try:
            yield
        finally:
            control.events.close()  # as in _served


@asynccontextmanager
async def _served(control: Control, settings: Settings, page: Sequence[BaseRoute]) -> AsyncIterator[None]:
    plain = create_app(control, page=page)
    if (node := control.node) is not None:
        serve_nodes(plain, node)
    app = HeadAsGet(plain)
    permissions = Permissions(int(settings.mode, 8), settings.group)
    async with AsyncExitStack() as stack:
        if node is not None:
            await stack.enter_async_context(describing(control, node))
        for listen in settings.listen:
            address = parse_address(listen)
            guarded = AccessControl(
                app,
                control.tokens,
                over="unix" if isinstance(address, UnixAddress) else "tcp",
                hosts=lambda: control.reloads.config.control.hosts,
                exceeded=control.gateway.limits.control_request,
            )
            server = await stack.enter_async_context(Server(guarded, address, "control plane", permissions))
            control.urls.append(server.url)
        # first: the servers wait for open responses, and a stream of events never ends itself
        stack.callback(control.events.close)
        yield


@asynccontextmanager
async def _metrics(control: Control) -> AsyncIterator[None]:
    """Serve metrics at their own address, if there is one."""
    if (listen := control.reloads.config.metrics.listen) is None:
        yield
        return
    async with MetricsServer(control.metrics, parse_address(listen)) as server:
        control.metrics_url = server.url
        control.problems.append(server.problem)
        yield


@asynccontextmanager
async def _publishing(control: Control) -> AsyncIterator[None]:
    """Publish events of the gateway, of reloads and of drains, and record reloads in the audit log."""
    tasks = Tasks()

    def on_gateway_event(happening: Happening) -> None:
        if happening.kind in get_args(EventKind):
            control.events.publish(cast("EventKind", happening.kind), happening.facts, at=timestamp(happening.at_ns))

    def on_outcome(outcome: Outcome) -> None:
        control.events.publish("reload", reload_shown(outcome).model_dump())
        if outcome.trigger not in _BY_API and outcome.result not in ("started", "unchanged"):
            tasks.start(_record_reload(control, outcome))

    async def publish_drains() -> None:
        while True:  # drains run in the gateway, which knows nothing of the control plane: so this polls
            control.drains.publish_changes()
            await asyncio.sleep(DRAIN_EVENTS_S)

    control.gateway.event_bus.subscribe(on_gateway_event)
    control.reloads.observers.append(on_outcome)
    publishing = tasks.start(publish_drains())
    try:
        yield
    finally:
        publishing.cancel()
        control.reloads.observers.remove(on_outcome)
        try:
            await tasks.finish(DRAIN_EVENTS_S)
        finally:
            await tasks.cancel()


async def _record_reload(control: Control, outcome: Outcome) -> None:
    """Add a reload that did not come through the API to the audit log."""
    await control.audit.record(
        "reload",
        actor=outcome.actor,
        role="admin",
        address=outcome.trigger,
        status=200 if outcome.is_good else 422,
        problem=outcome.problem,
        after={"generation": outcome.revision, "result": outcome.result},
    )
