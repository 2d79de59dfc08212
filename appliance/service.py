"""The composition root: from a configuration to a running gateway. The one module that knows everybody."""

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
from appliance.control.events import Events
from appliance.control.metrics import Collector
from appliance.control.models import EventKind, Plugin
from appliance.control.notify import Notifier
from appliance.control.page.routes import page_routes
from appliance.control.plane import control_plane
from appliance.control.ports import Control
from appliance.control.reload import Reloads
from appliance.control.tokens import Tokens
from appliance.control.tracing import tracing
from appliance.crypto import Verifier
from appliance.errors import ConfigError
from appliance.gateway.change import Ready
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
from appliance.plugins.plugins import Plugins, PluginState, Swap

_log = structlog.get_logger(__name__)

VERSION = version("icws")

_STOP = (signal.SIGINT, signal.SIGTERM)
_TOUCHES_ALL = frozenset({"polling", "verification", "rate_limits", "plugins", "network"})
"""Sections whose live keys concern every session."""


@dataclass(frozen=True)
class Service:
    """A gateway that takes connections."""

    gateway: Gateway
    listener: Listener
    agent: Agent
    transport: HttpTransport

    @property
    def principal(self) -> Principal:
        """Who the gateway is to canisters."""
        return self.gateway.principal

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.listener.url


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Service]:
    """Run a gateway without a control plane until the block is left, then close its sockets and tell the canisters.

    Raises ConfigError, KeyUnusable, an IcError where the root key is to be fetched and cannot be, and OSError where the
    address is taken.
    """
    async with _gateway(config) as (gateway, agent, transport), Listener(gateway) as listener:
        yield Service(gateway, listener, agent, transport)


@asynccontextmanager
async def operating(begun: Start, logging: Logging) -> AsyncIterator[tuple[Service, Control]]:
    """Run a gateway with its plugins and its control plane until the block is left. Its configuration can be changed
    meanwhile. Raises as `serving` does.
    """
    config = begun.loaded.config
    async with AsyncExitStack() as stack:
        gateway, agent, transport = await stack.enter_async_context(_gateway(config))
        await stack.enter_async_context(tracing(gateway.recorder))
        plugins = Plugins(gateway.hooks)
        stack.push_async_callback(plugins.stop)
        (await _first(plugins, begun.loaded)).swap()
        gateway.event_bus.subscribe(plugins.publish)
        listener = await stack.enter_async_context(Listener(gateway))
        tokens = Tokens(config.control.tokens)
        parts = (_Endpoints(transport), plugins, gateway, listener, tokens, logging)
        reloads = Reloads(begun, parts, touched=lambda plan: touched(plan, gateway), complaints=lambda: complaints())  # noqa: PLW0108 - it looks at what comes later
        await stack.enter_async_context(reloads)
        collector = Collector(
            gateway, listener, reloads, plugins=plugins.states, loop_lag_s=lambda: control.pulse.lag_s
        )
        control = await stack.enter_async_context(
            control_plane(
                gateway,
                listener,
                reloads,
                tokens=tokens,
                ic=agent,
                log=logging,
                version=VERSION,
                metrics=collector.render,
                plugins=lambda: [_shown(plugin) for plugin in plugins.states()],
                page=page_routes(),
            )
        )

        async def complaints() -> list[str]:
            ready = await control.health.ready()
            return [f"{check.name}: {check.detail}" for check in ready.checks or () if not check.ok]

        await stack.enter_async_context(_telling(plugins, control.events))
        control.health.started = True
        yield Service(gateway, listener, agent, transport), control


async def _first(plugins: Plugins, loaded: Loaded) -> Swap:
    """The plugins to begin with. Raises ConfigError with the places of what is wrong."""
    try:
        return await plugins.prepare(loaded.config)
    except ConfigError as error:
        raise ConfigError([replace(each, place=loaded.place_of(each.key)) for each in error.problems]) from error


@asynccontextmanager
async def _telling(plugins: Plugins, events: Events) -> AsyncIterator[None]:
    """Publish to plugins the events of the control plane; they have those of the gateway already."""
    listening = events.listen([kind for kind in get_args(EventKind) if kind not in GATEWAY_EVENTS])

    async def pass_on() -> None:
        async for event in listening.events():
            if event is not None:
                plugins.publish(Happening(event.kind, round(event.at.timestamp() * 1e9), event.data))

    telling = asyncio.ensure_future(pass_on())
    try:
        yield
    finally:
        listening.close()
        with suppress(asyncio.CancelledError):
            await telling
        events.forget(listening)


async def run(begun: Start, logging: Logging) -> None:
    """Serve until SIGINT or SIGTERM, then wind down. SIGHUP and a changed file are reloads. A second signal to stop
    ends it at once, by cancelling the task this runs in.

    Raises what `operating` raises.
    """
    stop, tasks, notifier = asyncio.Event(), Tasks(), Notifier.from_environment()
    async with operating(begun, logging) as (service, control):
        reloads = control.reloads
        try:
            with _signals(stop, lambda: tasks.start(_reload(reloads, notifier, "signal"))):
                # worded as the reference gateway words it, for people and scripts that look for it
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


def touched(plan: Plan, gateway: Gateway) -> Mapping[str, int]:
    """How many sessions that are there the change of each key concerns."""
    return {change.key: _touched_by(change, gateway) for change in plan}


def _touched_by(change: PlannedChange, gateway: Gateway) -> int:
    if change.effect != "live":
        return 0
    if change.canister is not None:
        return len(gateway.hub.members(Principal.from_text(change.canister)))
    if change.path[0] == "unlisted_canisters":
        listed = {canister.id for canister in gateway.config.canisters}
        return sum(len(gateway.hub.members(one)) for one in gateway.hub.canisters() if one not in listed)
    return len(gateway.hub) if change.path[0] in _TOUCHES_ALL else 0


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

    async def prepare(self, new: Config) -> Ready:
        """Raises Malformed for a URL that is none."""
        network = new.network
        Endpoints(network.url)
        return Ready(
            lambda: self._transport.follow(network.url, timeout_s=network.timeout, max_reply=network.max_reply)
        )


async def _reload(reloads: Reloads, notifier: Notifier, trigger: str) -> None:
    """Run what the file says now. What is wrong with it is logged, and shown by the control plane."""
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
    """What people who ask systemd are told."""
    refused = "" if reloads.last.is_good else f"; the last reload was refused: {reloads.last.problem}"
    count = len(service.gateway.hub)
    return f"Serving {count} session{'s' * (count != 1)} at {service.url}, configuration {reloads.generation}{refused}"


async def _wind_down(service: Service, notifier: Notifier) -> None:
    gateway, listener = service.gateway, service.listener
    policy = gateway.config.drain
    _log.info("stopping", connections=len(listener))
    telling = asyncio.ensure_future(
        notifier.stopping(lambda: f"draining, {len(listener)} connections left", policy.grace + policy.deadline)
    )
    try:
        await gateway.wind_down()
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


@contextmanager
def _signals(stop: asyncio.Event, reload: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM set the event, the second time they cancel this task; SIGHUP is a reload."""
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
            warnings.append(f"verification.{subject} is {mode}: what does not verify is passed on")
    for warning in filter(None, warnings):
        _log.warning(warning)
