"""The composition root: builds a running gateway from a configuration. The only module that imports all others."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import structlog

from appliance.config.files import files_of
from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange
from appliance.config.schema import Config
from appliance.config.source import Start
from appliance.config.watch import Watch
from appliance.control.auth.tokens import Tokens
from appliance.control.control import Control
from appliance.control.health.checks import health_of
from appliance.control.health.loop_lag import LoopLagMonitor
from appliance.control.health.systemd import Notifier
from appliance.control.models import EventKind, Plugin
from appliance.control.observe.events import Events
from appliance.control.observe.metrics import Collector
from appliance.control.observe.tracing import tracing
from appliance.control.page.routes import page_routes
from appliance.control.plane import control_plane
from appliance.control.reload.reloads import Reloads
from appliance.crypto import Verifier
from appliance.errors import ConfigError
from appliance.gateway.change import ImmediateChange
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Happening
from appliance.gateway.recording.event_bus import GATEWAY_EVENTS
from appliance.gateway.sockets.listener import Listener
from appliance.gateway.tasks import Tasks
from appliance.ic.agent import Agent
from appliance.ic.endpoints import Endpoints
from appliance.ic.key_file import identity_file_problem, load_or_create_identity
from appliance.ic.network import resolve_root_key, root_key_warning
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.log import Logging
from appliance.plugins.plugins import Plugins, PluginState, PreparedPlugins

_log = structlog.get_logger(__name__)

VERSION = version("icws")

_STOP = (signal.SIGINT, signal.SIGTERM)
_CONCERNS_ALL = frozenset({"polling", "verification", "rate_limits", "plugins", "network"})
"""Sections whose live keys affect every session."""


@dataclass(frozen=True)
class Service:
    """A gateway that accepts connections."""

    gateway: Gateway
    listener: Listener
    agent: Agent
    transport: HttpTransport

    @property
    def principal(self) -> Principal:
        """The principal of the gateway, as canisters see it."""
        return self.gateway.principal

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.listener.url


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Service]:
    """Run a gateway without a control plane until the block is left, then close its sockets and notify the
    canisters.

    Raises ConfigError, KeyUnusable, an IcError if the root key must be fetched and cannot be, and OSError if the
    address is taken.
    """
    async with _gateway(config) as (gateway, agent, transport), Listener(gateway) as listener:
        yield Service(gateway, listener, agent, transport)


@asynccontextmanager
async def operating(begun: Start, logging: Logging) -> AsyncIterator[tuple[Service, Control]]:
    """Run a gateway with its plugins and its control plane until the block is left. Its configuration can be changed
    meanwhile. Raises as `serving` does.

    The exit stack shuts down in the reverse order of this function, and every step relies on those below it: events and
    the control plane end first, so that no request changes a gateway that shuts down; then a reload under way; then the
    listener closes its sockets, for which plugins still get their ``close`` hooks; then the plugins stop; then the
    traces of these sessions are exported; last the gateway sends its ``ws_close`` calls, for which it needs the IC.
    """
    config = begun.loaded.config
    async with AsyncExitStack() as stack:
        gateway, agent, transport = await stack.enter_async_context(_gateway(config))
        await stack.enter_async_context(tracing(gateway.recorder))
        plugins = Plugins(gateway.hooks)
        stack.push_async_callback(plugins.stop)
        (await _first_plugins(plugins, begun.loaded)).commit()  # before the listener: no client gets in past a plugin
        gateway.event_bus.subscribe(plugins.publish)
        listener = await stack.enter_async_context(Listener(gateway))
        loop_lag = await stack.enter_async_context(LoopLagMonitor())
        health = health_of(gateway, listener, agent, loop_lag)
        tokens = Tokens(config.control.tokens)
        parts = (_Endpoints(transport), plugins, gateway, listener, tokens, logging)
        count_sessions = partial(sessions_concerned, gateway=gateway)
        reloads = Reloads(begun, parts, count_sessions=count_sessions, failed_checks=health.failed)
        await stack.enter_async_context(reloads)
        collector = Collector(gateway, listener, reloads, plugins=plugins.states, loop_lag_s=lambda: loop_lag.lag_s)
        control = await stack.enter_async_context(
            control_plane(
                gateway,
                listener,
                reloads,
                tokens=tokens,
                health=health,
                loop_lag=loop_lag,
                log=logging,
                version=VERSION,
                metrics=collector.render,
                plugins=lambda: [_shown(plugin) for plugin in plugins.states()],
                page=page_routes(),
            )
        )
        await stack.enter_async_context(_forward_events(control.events, plugins))
        health.started = True
        yield Service(gateway, listener, agent, transport), control


async def _first_plugins(plugins: Plugins, loaded: Loaded) -> PreparedPlugins:
    """The plugins of the start. Raises ConfigError, with the places of its problems."""
    try:
        return await plugins.prepare(loaded.config)
    except ConfigError as error:
        raise ConfigError([replace(each, place=loaded.place_of(each.key)) for each in error.problems]) from error


@asynccontextmanager
async def _forward_events(events: Events, plugins: Plugins) -> AsyncIterator[None]:
    """Publish events of the control plane to plugins. They get the events of the gateway from its event bus already."""
    subscription = events.subscribe([kind for kind in get_args(EventKind) if kind not in GATEWAY_EVENTS])

    async def forward() -> None:
        async for event in subscription.events():
            if event is not None:
                plugins.publish(Happening(event.kind, round(event.at.timestamp() * 1e9), event.data))

    forwarding = asyncio.ensure_future(forward())
    try:
        yield
    finally:
        subscription.close()  # ends `forward` after the events that wait: the last ones are those of the shutdown
        with suppress(asyncio.CancelledError):
            await forwarding
        events.unsubscribe(subscription)


async def run(begun: Start, logging: Logging) -> None:
    """Serve until SIGINT or SIGTERM, then drain and stop. SIGHUP and a changed file start a reload. A second SIGINT or
    SIGTERM stops at once, by cancelling the task this runs in.

    Raises what `operating` raises.
    """
    stop, tasks, notifier = asyncio.Event(), Tasks(), Notifier.from_environment()
    async with operating(begun, logging) as (service, control):
        reloads = control.reloads
        try:
            with _signals(stop, lambda: tasks.start(_reload(reloads, notifier, "signal"))):
                # the wording of the reference gateway, because scripts search for this line
                _log.info(f"Gateway Agent principal: {service.principal!s}")
                if begun.loaded.config.watch:
                    tasks.start(_follow_files(reloads, notifier))
                status = partial(_status, service, reloads)
                reloads.observers.append(lambda _: notifier.status(status()))
                tasks.start(notifier.watch())
                tasks.start(notifier.follow(status))
                notifier.ready(status())
                await stop.wait()
                await _wind_down(service, notifier)
        finally:
            await tasks.cancel()


@asynccontextmanager
async def _gateway(config: Config) -> AsyncIterator[tuple[Gateway, Agent, HttpTransport]]:
    identity = load_or_create_identity(config.gateway.identity)
    _warn(config)
    network = config.network
    async with HttpTransport(network.url, timeout_s=network.timeout, max_reply=network.max_reply) as transport:
        age_ns = round(config.verification.max_certificate_age * 1e9)
        root_key = await resolve_root_key(network.root_key, transport)
        verifier = Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)
        agent = Agent(transport, identity, verifier)
        async with Gateway(config, ic=agent, verifier=verifier, principal=identity.principal) as gateway:
            yield gateway, agent, transport


def sessions_concerned(plan: Plan, gateway: Gateway) -> Mapping[str, int]:
    """How many of the current sessions the change of each key affects."""
    return {change.key: _concerned_by(change, gateway) for change in plan}


def _concerned_by(change: PlannedChange, gateway: Gateway) -> int:
    if change.effect != "live":
        return 0
    if change.canister is not None:
        return len(gateway.hub.members(Principal.from_text(change.canister)))
    if change.path[0] == "unlisted_canisters":
        listed = {canister.id for canister in gateway.config.canisters}
        return sum(len(gateway.hub.members(one)) for one in gateway.hub.canisters() if one not in listed)
    return len(gateway.hub) if change.path[0] in _CONCERNS_ALL else 0


def _shown(plugin: PluginState) -> Plugin:
    return Plugin(
        name=plugin.name,
        source=plugin.source,
        state=plugin.state,
        hooks=[hook.name for hook in plugin.hooks],
        calls=plugin.calls,
        failures=plugin.failures,
        slow=plugin.slow,
        last_error=plugin.last_error,
    )


class _Endpoints:
    """The endpoints of the IC, as a part that follows the configuration."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    async def prepare(self, new: Config) -> ImmediateChange:
        """Raises Malformed for a URL that is not valid."""
        network = new.network
        Endpoints(network.url)
        return ImmediateChange(
            lambda: self._transport.follow(network.url, timeout_s=network.timeout, max_reply=network.max_reply)
        )


async def _reload(reloads: Reloads, notifier: Notifier, trigger: str) -> None:
    """Apply the file as it is now. A refusal is logged, and shown by the control plane."""
    with notifier.reloading():
        await reloads.attempt(trigger=trigger, actor=trigger)


async def _follow_files(reloads: Reloads, notifier: Notifier) -> None:
    def files() -> Iterator[Path]:
        if reloads.source.file is not None:
            yield reloads.source.file
        yield from (file for _, file in files_of(reloads.config))

    async for _ in Watch(files):
        await _reload(reloads, notifier, "watch")


def _status(service: Service, reloads: Reloads) -> str:
    """The line that ``systemctl status`` shows."""
    refused = "" if reloads.last.is_good else f"; the last reload was refused: {reloads.last.problem}"
    count = len(service.gateway.hub)
    return f"Serving {count} session{'s' * (count != 1)} at {service.url}, configuration {reloads.revision}{refused}"


async def _wind_down(service: Service, notifier: Notifier) -> None:
    gateway, listener = service.gateway, service.listener
    policy = gateway.config.drain
    _log.info("stopping", connections=len(listener))
    reporting = asyncio.ensure_future(
        notifier.stopping(lambda: f"draining, {len(listener)} connections left", policy.grace + policy.deadline)
    )
    try:
        await gateway.wind_down()
    finally:
        reporting.cancel()
        with suppress(asyncio.CancelledError):
            await reporting


@contextmanager
def _signals(stop: asyncio.Event, reload: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM set the event; the second one cancels this task. SIGHUP calls ``reload``."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_stop() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in _STOP:
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number in (*_STOP, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _warn(config: Config) -> None:
    warnings = [
        identity_file_problem(config.gateway.identity),
        root_key_warning(config.network.root_key, config.network.url),
    ]
    if not config.canisters and config.unlisted_canisters == "deny":
        warnings.append("no canister is listed and unlisted ones are denied: no client can open a session")
    for subject in ("certificates", "envelopes"):
        mode = getattr(config.verification, subject)
        if mode != "enforce":
            warnings.append(f"verification.{subject} is {mode}: data that does not verify is passed on")
    for warning in filter(None, warnings):
        _log.warning(warning)
