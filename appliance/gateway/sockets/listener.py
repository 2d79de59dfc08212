"""Accepts sockets: TCP or Unix, with TLS or without."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Self

import structlog

from appliance.config.schema import Config
from appliance.config.schema import Gateway as Settings
from appliance.errors import ConfigError, ConfigProblem, GatewayStopping
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import HealthCheck
from appliance.gateway.limits.descriptors import places
from appliance.gateway.sockets.accepting.acceptor import Arrived
from appliance.gateway.sockets.accepting.addresses import ListenAddress, ListeningSocket, bind, listen_addresses
from appliance.gateway.sockets.accepting.arrivals import Arrivals
from appliance.gateway.sockets.connection import Connection
from appliance.gateway.sockets.phases import Timers
from appliance.gateway.sockets.refusals import Refusals
from appliance.gateway.sockets.shedding import Shedding
from appliance.gateway.sockets.tls.loading import LoadedTls
from appliance.gateway.sockets.turns import Turns

_log = structlog.get_logger(__name__)

PENDING = 4
"""Close calls that may be pending, as a multiple of ``max_connections``."""

REQUEST_S = 3.0
"""For clients that are accepted to send their request, before a process that ends for the next one closes sessions."""
REQUEST_TICK_S = 0.02


class Listener:
    """Serves a gateway on ``gateway.listen`` and ``gateway.listeners``. An async context: leaving it closes every
    socket with GatewayStopping.

    Once entered, ``port`` and ``url`` are those bound for ``gateway.listen``, and ``urls`` those of all addresses in
    order.
    """

    def __init__(self, gateway: Gateway, *, opens: bool = True) -> None:
        """``opens`` accepts clients once it is entered; otherwise they wait for ``open`` in the kernel's queue. Raises
        ConfigError for TLS files that cannot be used.
        """
        self.gateway = gateway
        self._opens = opens
        self.settings: Settings = gateway.config.gateway
        self.tls = LoadedTls.load(self.settings.tls)
        self.bound: list[ListeningSocket] = []
        self.turns = Turns(gateway.counters)
        self.timers = Timers()
        self.refusals = Refusals(lambda: gateway.config, gateway.event_bus, time.monotonic_ns)
        self.health: HealthCheck | None = None
        self._arrivals = Arrivals(gateway, self.refusals, self.turns)
        self._connections: set[Connection] = set()
        self._shedding = Shedding(gateway.limits.holdings, gateway.counters, lambda: self._connections)
        self._empty = asyncio.Event()
        self._empty.set()
        self.on_arrival: Callable[[], None] = lambda: None
        """Called when a socket was accepted."""
        self._is_resting = False
        self._is_paused = False

    @property
    def port(self) -> int | None:
        """Of ``gateway.listen``; None on a Unix socket."""
        return self.bound[0].port if self.bound else None

    @property
    def url(self) -> str:
        """Of ``gateway.listen``."""
        return self.bound[0].url if self.bound else ""

    @property
    def urls(self) -> list[str]:
        """Of all addresses."""
        return [bound.url for bound in self.bound]

    def __len__(self) -> int:
        """The number of sockets of clients, from their first byte on."""
        return self.gateway.limits.holdings.connections

    async def __aenter__(self) -> Self:
        """Bind. Raises OSError where an address cannot be bound."""
        prepared = await self.prepare(self.gateway.config)
        prepared.commit()
        if self._opens:
            self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def prepare(self, new: Config) -> "PreparedListener":
        """Get ready to serve the addresses of another configuration: binds those that are new.

        Raises ConfigError for TLS files that cannot be used and for an address that cannot be bound; the latter is an
        OSError until the listener serves.
        """
        settings = new.gateway
        tls = await LoadedTls.loaded(settings.tls)
        here, coming = list(self.bound), list[ListeningSocket]()
        try:
            for listen, key in zip(listen_addresses(settings), _keys(settings), strict=True):
                old = next((bound for bound in here if bound.is_at(listen.address)), None)
                if old is None:
                    coming.append(await self._bind(listen, key, with_tls=tls.context is not None))
                    continue
                here.remove(old)
                is_same = old.listen == listen and tls.digest == self.tls.digest
                coming.append(old if is_same else old.duplicate(listen, with_tls=tls.context is not None))
        except BaseException:
            _release(coming, keep=self.bound)
            raise
        return PreparedListener(self, settings, coming, tls)

    async def _bind(self, listen: ListenAddress, key: str, *, with_tls: bool) -> ListeningSocket:
        try:
            return await bind(listen, with_tls=with_tls)
        except OSError as error:
            if not self.bound:  # at a start the service manager tries again: the configuration is not at fault
                raise
            raise ConfigError([ConfigProblem("", key, error.strerror or str(error))]) from None

    def open(self) -> None:
        """Accept clients at every address where they are not accepted yet."""
        self._check_open_files()
        for bound in self.bound:
            if not bound.is_served:
                make = partial(Connection, self, bound.listen.generation)
                arrived = partial(self._arrivals.arrived, make, self.tls.context)
                bound.serve(partial(self._arrived, arrived), self.gateway.counters)
                _log.info("listening", url=bound.url, generation=bound.listen.generation)

    def _arrived(self, arrived: Arrived, client: socket.socket, peer: object) -> None:
        arrived(client, peer)
        self.on_arrival()

    def _check_open_files(self) -> None:
        wanted, calls = self.settings.max_connections, self.gateway.budget.scheduler.calls
        if self.places < wanted or calls < self.gateway.config.relay.calls:
            _log.warning(
                "the limit of open files allows fewer connections or calls than gateway.max_connections and "
                "relay.calls: raise it (LimitNOFILE in the unit), or lower these",
                places=self.places,
                max_connections=wanted,
                calls=calls,
                relay_calls=self.gateway.config.relay.calls,
            )

    @property
    def outlives(self) -> bool:
        """Whether the service manager keeps every address when this process ends."""
        return all(bound.is_inherited for bound in self.bound)

    @property
    def accepts(self) -> bool:
        """Whether newcomers are taken, or would be but for `rest`."""
        return not self._is_paused and self.gateway.is_accepting and bool(self.bound)

    def rest(self, is_resting: bool) -> None:
        """Leave newcomers to other processes that accept at the same sockets, or take them again."""
        if is_resting == self._is_resting or self._is_paused:
            return
        self._is_resting = is_resting
        for bound in self.bound:
            if bound.is_served and bound.is_inherited:
                (bound.pause if is_resting else bound.go_on)()

    async def pause(self) -> None:
        """Accept no more where the service manager keeps the address: clients wait in the kernel's queues for the next
        process. Elsewhere that queue would end with this one, so clients are accepted, and told to come back.

        Returns when those that were accepted have become sessions, or are gone, within ``REQUEST_S``: whoever has
        connected is not turned away with 503.
        """
        self._is_paused = True
        for bound in self.bound:
            if bound.is_inherited:
                bound.pause()
        give_up_at = asyncio.get_running_loop().time() + REQUEST_S
        while asyncio.get_running_loop().time() < give_up_at:
            await self._arrivals.settled()
            if not len(self._arrivals) and len(self._connections) <= len(self.gateway.connections):
                return
            await asyncio.sleep(REQUEST_TICK_S)  # their clients are what is waited for, and no event of ours

    def press(self, connection: Connection) -> None:
        """See ``connection.ConnectionOwner``."""
        self._shedding.press(connection)

    async def stop(self) -> None:
        """Accept no more, close every socket and wait for it, at most ``close_timeout`` and what is left of the time
        for draining.

        The order matters: pause, let accepted sockets become connections, and only then close the connections;
        otherwise a client accepted in between would stay without an answer.
        """
        if not self.bound:
            return
        self._is_paused = True
        left_s = self.gateway.begin_stop()
        for bound in self.bound:
            bound.pause()
        await self._arrivals.settled()
        await self._arrivals.abort()
        for bound in self.bound:
            bound.close(unlink=True)
        for connection in list(self._connections):
            connection.close(GatewayStopping())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), min(left_s, self.settings.close_timeout))
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()
        self._shedding.stop()
        self.bound.clear()

    # --- connection.ConnectionOwner ---------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be rejected: ``max_connections`` is reached, or the gateway accepts nobody.

        A client that is gone has given its place back; but where close calls do not get done, clients that connect and
        leave quickly would pile them up, so that nobody is admitted while ``PENDING`` times as many are pending.
        """
        taken = len(self) - 1  # without the one that asks
        is_behind = self.gateway.pending_close_calls >= PENDING * self.settings.max_connections
        is_short = self.gateway.limits.holdings.is_full
        return not self.gateway.is_accepting or taken >= self.places or is_behind or is_short

    def accepted(self, connection: Connection) -> None:
        """Count a socket."""
        self._connections.add(connection)
        self._empty.clear()

    def lost(self, connection: Connection) -> None:
        """Forget a socket."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    @property
    def places(self) -> int:
        """The most sockets of clients at a time."""
        return places(self.settings.max_connections, self.gateway.config.relay.calls)


class PreparedListener:
    """A listener with its new addresses bound, and not accepting there yet."""

    def __init__(self, listener: Listener, settings: Settings, coming: list[ListeningSocket], tls: LoadedTls) -> None:
        self._listener = listener
        self._settings = settings
        self._coming = coming
        self._going = [bound for bound in listener.bound if bound not in coming]
        self._tls = tls

    def commit(self) -> None:
        """Use the new settings from now on. Connected sockets stay as they are."""
        self._listener.settings = self._settings
        self._listener.tls = self._tls
        self._listener.bound = self._coming

    async def rollback(self) -> None:
        """Release the addresses that were bound for this change."""
        _release(self._coming, keep=self._listener.bound)

    async def cleanup(self) -> None:
        """Accept at the new addresses, then close the old ones: in this order there is always one to connect to."""
        self._listener.open()
        for bound in self._going:
            is_gone = not any(
                bound.is_at(coming.listen.address) or coming.is_at(bound.listen.address) for coming in self._coming
            )
            bound.close(unlink=is_gone)
            if is_gone:
                _log.info("not listening any more", url=bound.url)


def _keys(settings: Settings) -> list[str]:
    """The configuration key of each address, in their order."""
    return ["gateway.listen", *(f"gateway.listeners[{more.address}].address" for more in settings.listeners)]


def _release(bound: list[ListeningSocket], *, keep: list[ListeningSocket]) -> None:
    """Close sockets that were bound and are not served."""
    addresses = {one.listen.address for one in keep}
    for one in bound:
        if one not in keep:
            one.close(unlink=one.listen.address not in addresses)
