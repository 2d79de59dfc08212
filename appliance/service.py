"""The composition root: builds a running gateway from a configuration. The only module that imports all others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import structlog

from appliance import task_end
from appliance.cluster.joining import machine_name, node_of
from appliance.cluster.node import Node
from appliance.cluster.seal import Seal
from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange
from appliance.config.schema import Cluster, Config
from appliance.config.source import Start
from appliance.control.auth.tokens import Tokens
from appliance.control.control import Control
from appliance.control.health.checks import health_of
from appliance.control.health.loop_lag import LoopLagMonitor
from appliance.control.models import EventKind, Plugin
from appliance.control.observe.events import Events
from appliance.control.observe.metrics import Collector
from appliance.control.observe.tracing import tracing
from appliance.control.page.routes import page_routes
from appliance.control.plane import Behind, control_plane
from appliance.control.reload.reloadable import PreparedChange, Reloadable
from appliance.control.reload.reloads import Reloads
from appliance.control.reload.report import report_warnings
from appliance.crypto import Verifier
from appliance.errors import CannotRunNow, ConfigError
from appliance.gateway.change import ImmediateChange
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Happening
from appliance.gateway.local_node import LocalNode
from appliance.gateway.recording.event_bus import GATEWAY_EVENTS
from appliance.gateway.sockets.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.endpoints import Endpoints
from appliance.ic.http.transport import HttpTransport, Transport
from appliance.ic.identity import KeyIdentity
from appliance.ic.key_source import identity_at_start
from appliance.ic.network import resolve_root_key, wait_for_root_key
from appliance.ic.principal import Principal
from appliance.identities import Identities, open_journal, with_created_key
from appliance.log import Logging
from appliance.plugins.plugins import Plugins, PluginState, PreparedPlugins
from appliance.preparation.prepare import prepare
from appliance.preparation.warnings import config_warnings
from appliance.worker.role import Role

_log = structlog.get_logger(__name__)

VERSION = version("icws")

WATCH = "watch"
"""Trigger of the reloads that a changed file starts."""
_CONCERNS_ALL = frozenset({"polling", "verification", "limits", "rate_limits", "plugins", "network"})
"""Sections whose live keys affect every session."""


@dataclass(frozen=True)
class Service:
    """A gateway that accepts connections."""

    gateway: Gateway
    listener: Listener
    agent: Agent
    transport: HttpTransport
    identities: Identities | None = None
    """None where they cannot change, as there are no reloads."""

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

    Raises ConfigError, KeyUnusable, JournalUnusable, a ClusterError, an IcError if the root key must be
    fetched and cannot be, and OSError if the address is taken.
    """
    async with _gateway(config, resolve_root_key) as (gateway, agent, transport, _), Listener(gateway) as listener:
        yield Service(gateway, listener, agent, transport)


@asynccontextmanager
async def operating(begun: Start, logging: Logging, role: Role | None = None) -> AsyncIterator[tuple[Service, Control]]:
    """Run a gateway with its plugins and its control plane until the block is left. Its configuration can be changed
    meanwhile. Where the root key must be fetched, it waits for the network. ``role`` is that of a worker. Raises
    CannotRunNow, and otherwise as `serving` does.

    The exit stack shuts down in the reverse order of this function, and every step relies on those below it: events and
    the control plane end first, so that no request changes a gateway that shuts down; then a reload under way; then the
    listener closes its sockets, for which plugins still get their ``close`` hooks; then the plugins stop; then the
    traces of these sessions are exported; last the gateway sends its ``ws_close`` calls, for which it needs the IC.
    """
    config, folder = begun.loaded.config, begun.source.folder
    await prepare(begun.loaded, folder=folder, needs_network=False, holds=_holds(role))
    if role is None or role.is_first:
        report_warnings(begun.loaded.warnings)
    else:
        begun.history.detach()
    logging.canister_names = config.canister_names
    async with AsyncExitStack() as stack:
        gateway, agent, transport, node = await stack.enter_async_context(_gateway(config, wait_for_root_key, role))
        begun = replace(begun, loaded=with_created_key(begun.loaded))
        await stack.enter_async_context(tracing(gateway.recorder))
        plugins = Plugins(gateway.hooks, folder=folder)
        stack.push_async_callback(plugins.stop)
        (await _first_plugins(plugins, begun.loaded)).commit()  # before the listener: no client gets in past a plugin
        gateway.event_bus.subscribe(plugins.publish)
        listener = await stack.enter_async_context(Listener(gateway, opens=False))
        loop_lag = await stack.enter_async_context(LoopLagMonitor())
        identities = Identities(gateway, agent, transport, rotated=partial(_follow_identity, node))
        health = health_of(gateway, listener, identities, loop_lag, node)
        tokens = Tokens(config.control.tokens)
        count_sessions = partial(sessions_concerned, gateway=gateway)
        examine = partial(_examine, folder=folder, holds=_holds(role, listener))
        data_plane = _DataPlane(gateway, identities, lambda: reloads.trigger, node)
        of_machine: list[Reloadable] = [data_plane, listener]
        if role is not None:
            of_machine = [_Shared(part, role) for part in of_machine]
        parts = (_Endpoints(transport), plugins, of_machine[0], identities, of_machine[1], tokens, logging)
        reloads = Reloads(begun, parts, count_sessions=count_sessions, failed_checks=health.failed, examine=examine)
        await stack.enter_async_context(reloads)
        collector = Collector(
            gateway, listener, reloads, plugins=plugins.states, loop_lag_s=lambda: loop_lag.lag_s, node=node
        )
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
                node=node,
                behind=None if role is None else Behind(role.control, keeps_audit=role.is_first),
            )
        )
        await stack.enter_async_context(_forward_events(control.events, plugins))
        listener.open()  # last: whoever is accepted finds everything else in place
        health.started = True
        listener.health = health.passes
        yield Service(gateway, listener, agent, transport, identities), control


def _holds(role: Role | None, listener: Listener | None = None) -> Callable[[TcpAddress | UnixAddress], bool]:
    """Whether this process has an address already, or its supervisor may have it."""

    def holds(address: TcpAddress | UnixAddress) -> bool:
        return role is not None or (listener is not None and any(each.is_at(address) for each in listener.bound))

    return holds


async def _examine(new: Loaded, old: Loaded, folder: Path, holds: Callable[[TcpAddress | UnixAddress], bool]) -> None:
    """The preparation of a reload. Raises ConfigError, also for what may pass: the operator waits for an answer."""
    try:
        await prepare(new, folder=folder, old=old, holds=holds)
    except CannotRunNow as error:
        raise ConfigError(error.problems) from error


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
        try:
            await task_end.finish(forwarding)
        finally:
            events.unsubscribe(subscription)


@asynccontextmanager
async def _gateway(
    config: Config, root_key_of: Callable[[str, Transport], Awaitable[bytes]], role: Role | None = None
) -> AsyncIterator[tuple[Gateway, Agent, HttpTransport, Node | None]]:
    identity = identity_at_start(config.gateway.identity)
    for warning in config_warnings(config):
        _log.warning(warning)
    network = config.network
    config = config if role is None else role.share(config)
    async with HttpTransport(network.url, timeout_s=network.timeout, max_reply=network.max_reply) as transport:
        age_ns = round(config.verification.max_certificate_age * 1e9)
        root_key = await root_key_of(network.root_key, transport)
        verifier = Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)
        agent = Agent(transport, identity, verifier)
        async with (
            _node(config, identity, root_key, role) as node,
            await open_journal(config, identity.principal) as journal,
            Gateway(
                config, ic=agent, verifier=verifier, principal=identity.principal, journal=journal, nodes=node
            ) as gateway,
        ):
            if node is not None:
                node.serve(LocalNode(gateway, transport))
                transport.on_pause = node.pauses.asked
            yield gateway, agent, transport, node


def _follow_identity(node: Node | None, identity: KeyIdentity) -> None:
    if node is not None:
        node.follow_seal(Seal(identity, node.cluster))


@asynccontextmanager
async def _node(
    config: Config, identity: KeyIdentity, root_key: bytes, role: Role | None
) -> AsyncIterator[Node | None]:
    """The node of a cluster, if one is configured; each worker is one. It joins before anybody is served, and leaves
    last.
    """
    if config.cluster is None and role is None:
        yield None
        return
    settings = config.cluster or Cluster()
    if role is not None:  # several workers cannot answer at one address; their supervisor knows who lives
        settings = settings.model_copy(update={"peer": None})
    name = settings.node or machine_name()
    node = node_of(
        settings,
        name=name if role is None else role.node(name),
        local=None if role is None else role.engine,
        identity=identity,
        root_key=root_key,
        version=VERSION,
    )
    async with node.running():
        yield node


def sessions_concerned(plan: Plan, gateway: Gateway) -> Mapping[str, int]:
    """How many of the current sessions the change of each key affects."""
    return {change.key: _concerned_by(change, gateway) for change in plan}


def _concerned_by(change: PlannedChange, gateway: Gateway) -> int:
    if change.effect != "live" and not _closes_sessions(change):
        return 0
    if change.canister is not None:
        return len(gateway.hub.members(Principal.from_text(change.canister)))
    if change.path[0] == "unlisted_canisters":
        listed = {canister.id for canister in gateway.config.canisters}
        return sum(len(gateway.hub.members(one)) for one in gateway.hub.canisters() if one not in listed)
    return len(gateway.hub) if change.path[0] in _CONCERNS_ALL else 0


def _closes_sessions(change: PlannedChange) -> bool:
    """Whether it changes a canister to or from v0, which is for new sessions and closes those that are open."""
    is_generation = change.canister is not None and change.path[-1] == "generation"
    return is_generation and ("v0" in change.old) != ("v0" in change.new)


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


class _DataPlane:
    """The gateway, as a part that follows the configuration. What a watched change removes may come back: a file can be
    edited in several steps, each of which is finished.
    """

    def __init__(self, gateway: Gateway, identities: Identities, trigger: Callable[[], str], node: Node | None) -> None:
        self._gateway = gateway
        self._node = node
        self._identities = identities
        self._trigger = trigger

    async def prepare(self, new: Config) -> ImmediateChange:
        """Raises nothing."""
        change = await self._gateway.prepare(new, may_return=self._trigger() == WATCH)

        def commit() -> None:
            change.commit()
            self._identities.follow(self._gateway.verifier)  # of one age, for calls as for polls
            if self._node is not None and new.cluster is not None:
                self._node.follow(new.cluster)

        return ImmediateChange(commit)


class _Shared:
    """A part that gets the share of this worker."""

    def __init__(self, part: Reloadable, role: Role) -> None:
        self._part = part
        self._role = role

    async def prepare(self, new: Config) -> PreparedChange:
        """Raises what the part raises."""
        return await self._part.prepare(self._role.share(new))


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
