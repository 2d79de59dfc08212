"""The control plane of a running gateway: all parts of it, put together and served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast, get_args

from starlette.routing import BaseRoute

from appliance.config.fields.address import UnixAddress, parse_address
from appliance.control.app import create_app
from appliance.control.audit import Audit
from appliance.control.auth import Guard
from appliance.control.checks import Ic, IcProbe, ready_checks
from appliance.control.drains import Drains
from appliance.control.events import Events
from appliance.control.health import Health, Pulse
from appliance.control.models import AuditEntry, DrainProgress, EventKind, Plugin
from appliance.control.outcome import Outcome
from appliance.control.ports import Control, Log
from appliance.control.recall import Recall, sample_of
from appliance.control.reload import Reloads
from appliance.control.routes.overview import reload_shown
from appliance.control.server import Server
from appliance.control.times import moment
from appliance.control.tokens import Tokens
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Happening
from appliance.gateway.sockets.listener import Listener
from appliance.gateway.tasks import Tasks

AUDIT_FILE = "audit.jsonl"
"""In the folder of the history."""
LOOK_S = 1.0
"""How often it is looked at what tells nobody by itself."""
_BY_API = frozenset({"api", "confirm", "rollback"})
"""Triggers of reloads that are in the audit log as operations of the API."""


@asynccontextmanager
async def control_plane(
    gateway: Gateway,
    listener: Listener,
    reloads: Reloads,
    *,
    tokens: Tokens,
    ic: Ic,
    log: Log,
    version: str,
    metrics: Callable[[], bytes],
    plugins: Callable[[], Sequence[Plugin]] = tuple,
    page: Sequence[BaseRoute] = (),
) -> AsyncIterator[Control]:
    """Serve the API at ``control.listen`` until the block is left; nowhere, where that is null.

    ``tokens`` should be among the parts that ``reloads`` changes. Whoever calls this sets ``health.started``. Raises
    OSError where the address is not to be had.
    """
    loop = asyncio.get_running_loop()
    settings = reloads.config.control
    events, pulse, recall = Events(), Pulse(), Recall(lambda: sample_of(gateway, listener))

    def tell_entry(entry: AuditEntry) -> None:
        events.publish("audit", entry.model_dump())

    def tell_drain(progress: DrainProgress) -> None:
        events.publish("drain", progress.model_dump())

    control = Control(
        version=version,
        gateway=gateway,
        listener=listener,
        reloads=reloads,
        log=log,
        tokens=tokens,
        audit=Audit(settings.history and settings.history / AUDIT_FILE, listen=tell_entry),
        events=events,
        health=Health({"loop": pulse.check}, ready_checks(gateway, listener, IcProbe(ic, gateway), pulse.check)),
        pulse=pulse,
        recall=recall,
        drains=Drains(gateway, tell_drain, loop.time),
        metrics=metrics,
        plugins=plugins,
    )
    async with pulse, recall, _telling(control), _served(control, settings.listen, page):
        yield control


@asynccontextmanager
async def _served(control: Control, listen: str | None, page: Sequence[BaseRoute]) -> AsyncIterator[None]:
    if listen is None:
        yield
        return
    address = parse_address(listen)
    is_unix = isinstance(address, UnixAddress)
    app = Guard(
        create_app(control, page=page),
        control.tokens,
        over="unix" if is_unix else "tcp",
        hosts=lambda: control.reloads.config.control.hosts,
    )
    async with Server(app, address) as server:
        control.url = server.url
        try:
            yield
        finally:
            control.events.close()  # whoever listens would keep the server waiting


@asynccontextmanager
async def _telling(control: Control) -> AsyncIterator[None]:
    """Let what happens be known to those who listen, and be written down."""
    tasks = Tasks()

    def on_news(happening: Happening) -> None:
        if happening.kind in get_args(EventKind):
            control.events.publish(cast("EventKind", happening.kind), happening.facts, at=moment(happening.at_ns))

    def on_outcome(outcome: Outcome) -> None:
        control.events.publish("reload", reload_shown(outcome).model_dump())
        if outcome.trigger not in _BY_API and outcome.result not in ("started", "unchanged"):
            tasks.start(_write_down(control, outcome))

    async def look() -> None:
        while True:
            control.drains.look()
            await asyncio.sleep(LOOK_S)

    control.gateway.event_bus.subscribe(on_news)
    control.reloads.observers.append(on_outcome)
    looking = tasks.start(look())
    try:
        yield
    finally:
        looking.cancel()
        control.reloads.observers.remove(on_outcome)
        with contextlib.suppress(asyncio.CancelledError):
            await tasks.finish(LOOK_S)


async def _write_down(control: Control, outcome: Outcome) -> None:
    """A reload that nobody asked the API for."""
    await control.audit.record(
        "reload",
        actor=outcome.actor,
        role="admin",
        address=outcome.trigger,
        status=200 if outcome.is_good else 422,
        problem=outcome.problem,
        after={"generation": outcome.generation, "result": outcome.result},
    )
