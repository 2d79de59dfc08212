"""Sockets that are accepted and are no connection yet: they owe the header of their proxy, or a TLS handshake.

Each counts from its first byte on, has a place and a time limit, and costs a few KiB until its client has sent
something: the memory of TLS, and the work for it, begin with the client's first byte.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from appliance.config.schema import Gateway as Settings
from appliance.errors import Malformed, RateLimited
from appliance.gateway.gateway import Gateway
from appliance.gateway.limits.descriptors import places
from appliance.gateway.limits.holdings import TLS_BYTES, Holding
from appliance.gateway.limits.rate_limits import network_of
from appliance.gateway.recording.timeline import Timeline
from appliance.gateway.sockets.accepting.proxy_protocol import ProxyHeaderReader
from appliance.gateway.sockets.http import is_trusted, peer_address
from appliance.gateway.sockets.refusals import Refusal, Refusals
from appliance.gateway.sockets.tls.records import TlsRecords
from appliance.gateway.sockets.turns import Turns
from appliance.gateway.tasks import Tasks

SURPLUS = 1000
"""Sockets above ``max_connections`` that still get the answer 503; those beyond are reset."""
_TOO_LATE = ("timeout", "no PROXY protocol header and no TLS handshake within gateway.handshake_timeout")
ADDRESS_SURPLUS = 50
"""Sockets of one address above its limit that still get the answer 429; those beyond are reset."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A socket as a connection takes it over: the address of its client as far as it is known before the request, when
    it was accepted (time of the loop), and what it holds. With ``may_forward`` a trusted proxy at the other end may
    name the client in ``X-Forwarded-For``. ``records`` are those of TLS: a frame counts as several
    where they cost more.
    """

    peer: object
    at: float
    holding: Holding
    may_forward: bool = True
    records: TlsRecords | None = None


def frames_of(number: int, records: TlsRecords | None) -> int:
    """So many frames of a client, or more where its TLS records cost more."""
    return number if records is None else max(number, records.surplus())


@dataclass(eq=False, slots=True)
class _Arrival:
    client: socket.socket
    peer: object
    at: float
    holding: Holding
    connect: Callable[["_Arrival"], None]
    has_tls: bool
    timer: asyncio.TimerHandle | None = None
    header: ProxyHeaderReader = field(default_factory=ProxyHeaderReader)
    task: asyncio.Task[None] | None = None
    is_awaited: bool = False
    """Whether its client has to do something before it becomes a connection."""


class Arrivals:
    """Turns accepted sockets into connections."""

    def __init__(self, gateway: Gateway, refusals: Refusals, turns: Turns) -> None:
        self._turns = turns
        self._gateway = gateway
        self._refusals = refusals
        self._tasks = Tasks()
        self._here: set[_Arrival] = set()

    def __len__(self) -> int:
        return len(self._here)

    def arrived(
        self,
        make: Callable[[Accepted], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        client: socket.socket,
        peer: object,
    ) -> None:
        """Take an accepted socket. ``make`` makes its connection, with TLS if there is a context."""
        gateway, address = self._gateway, peer_address(peer)
        by_proxy = is_trusted(address, self._settings.trusted_proxies)
        holding = gateway.limits.holdings.hold(None if by_proxy else network_of(address))
        gateway.counters.connections += 1
        at = asyncio.get_running_loop().time()
        arrival = _Arrival(client, peer, at, holding, partial(self._connect, make, tls), tls is not None)
        self._here.add(arrival)
        if (refusal := self._refusal(holding)) is not None:
            self._drop(arrival, *refusal)
        elif by_proxy and self._settings.proxy_protocol:
            self._wait(arrival, self._read_header)
        else:
            self._begin(arrival)

    async def settled(self) -> None:
        """Wait until each that owes nothing has become a connection."""
        while ready := [one.task for one in self._here if one.task is not None and not one.is_awaited]:
            await asyncio.wait(ready)

    async def abort(self) -> None:
        """End all of them."""
        for arrival in list(self._here):
            if arrival.task is None:
                self._end(arrival)
        await self._tasks.cancel()
        for arrival in list(self._here):  # a task that was cancelled before its first step has ended nothing
            self._end(arrival)

    @property
    def _settings(self) -> Settings:
        return self._gateway.config.gateway

    def _refusal(self, holding: Holding) -> tuple[str, str] | None:
        """Why a socket gets no answer at all: the reason and a sentence."""
        holdings = self._gateway.limits.holdings
        if holdings.connections > places(self._settings.max_connections + SURPLUS, self._gateway.config.relay.calls):
            return "reset", "far more sockets are open than gateway.max_connections allows"
        address, share = holdings.address, holding.of_address
        if share is not None and address.limit.mode == "enforce" and address.has_more(share, ADDRESS_SURPLUS):
            return "address_full", "its address holds more sockets than limits.held_per_address allows"
        return None

    def _wait(self, arrival: _Arrival, act: Callable[[_Arrival], None]) -> None:
        """Act when the client has sent something, within the time for its handshake."""
        loop = asyncio.get_running_loop()
        if arrival.timer is None:
            limit = self._settings.handshake_timeout
            arrival.timer = loop.call_at(arrival.at + limit, self._drop, arrival, *_TOO_LATE)
        loop.add_reader(arrival.client.fileno(), act, arrival)

    def _read_header(self, arrival: _Arrival) -> None:
        try:
            data = arrival.client.recv(arrival.header.missing)
            arrival.header.feed(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, Malformed) as error:
            self._drop(arrival, Malformed.reason, str(error))
            return
        if not data:
            self._drop(arrival, Malformed.reason, "the proxy sent no whole PROXY protocol header")
        elif not arrival.header.missing:
            self._named(arrival)

    def _named(self, arrival: _Arrival) -> None:
        """The proxy has named its client."""
        if arrival.header.source is not None:
            arrival.peer = arrival.header.source
            arrival.holding.move(network_of(peer_address(arrival.peer)))
        if (refusal := self._refusal(arrival.holding)) is not None:
            self._drop(arrival, *refusal)
        else:
            self._begin(arrival)

    def _begin(self, arrival: _Arrival) -> None:
        """Let the client begin: with TLS at once, and otherwise with its request."""
        if arrival.has_tls:
            self._wait(arrival, arrival.connect)
        else:
            arrival.connect(arrival)

    def _connect(
        self, make: Callable[[Accepted], asyncio.Protocol], tls: ssl.SSLContext | None, arrival: _Arrival
    ) -> None:
        asyncio.get_running_loop().remove_reader(arrival.client.fileno())
        arrival.is_awaited = tls is not None
        if tls is not None:
            address = peer_address(arrival.peer)
            is_client = not is_trusted(address, self._settings.trusted_proxies)
            exceeded = self._gateway.limits.tls_handshake(address) if is_client else None
            if exceeded is not None and exceeded.is_enforced:
                self._drop(arrival, RateLimited.reason, str(exceeded.error()))
                return
            arrival.holding.grow(TLS_BYTES)
        if arrival.timer is not None:
            arrival.timer.cancel()
        # A proxy that cannot name its client in its header does not name it in the request: that is the client's.
        may_forward = not arrival.header.is_nameless
        records = None if tls is None else TlsRecords(self._turns, arrival.holding.add)
        accepted = Accepted(arrival.peer, arrival.at, arrival.holding, may_forward, records)
        arrival.task = self._tasks.start(self._make(make(accepted), records, tls, arrival))

    async def _make(
        self, protocol: asyncio.Protocol, records: TlsRecords | None, tls: ssl.SSLContext | None, arrival: _Arrival
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            if records is None or tls is None:
                await loop.connect_accepted_socket(lambda: protocol, arrival.client)
            else:
                left = max(0.001, arrival.at + self._settings.handshake_timeout - loop.time())
                await self._shake_hands(records, records.decrypt(protocol, tls, left), arrival)
        except OSError as error:  # of TLS, of the network, or the time is over: TimeoutError is one
            self._drop(arrival, "tls", f"TLS handshake: {error or type(error).__name__}")
        except BaseException:
            self._end(arrival)
            raise
        else:
            self._forget(arrival)

    async def _shake_hands(self, records: TlsRecords, shaken: "asyncio.Future[None]", arrival: _Arrival) -> None:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: records, arrival.client)
        try:
            await shaken
        except BaseException:
            transport.abort()
            raise

    def _drop(self, arrival: _Arrival, reason: str, cause: str) -> None:
        """Reset a socket that becomes no connection. ``reason`` is one of ``refusals.REASONS``."""
        if arrival in self._here:
            now_ns, address = self._gateway.clock(), peer_address(arrival.peer)
            self._refusals.reject(Refusal(Timeline(now_ns).id, now_ns, address, reason, cause))
            self._end(arrival)

    def _end(self, arrival: _Arrival) -> None:
        if arrival.client.fileno() >= 0:
            if arrival.task is None:  # otherwise a transport may have it, whose reader uvloop refuses to remove
                asyncio.get_running_loop().remove_reader(arrival.client.fileno())
            arrival.client.close()
        arrival.holding.release()
        self._forget(arrival)

    def _forget(self, arrival: _Arrival) -> None:
        if arrival.timer is not None:
            arrival.timer.cancel()
        self._here.discard(arrival)
