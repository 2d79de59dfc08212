"""Accepts sockets: TCP or Unix, with TLS or without."""

import asyncio
import contextlib
import ssl
from functools import partial
from typing import Self

import structlog

from appliance.config.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Gateway as Settings
from appliance.config.schema import Tls
from appliance.errors import ConfigError, ConfigProblem, GatewayStopping
from appliance.gateway.connection import Connection
from appliance.gateway.gateway import Gateway

_log = structlog.get_logger(__name__)

SURPLUS = 1000
"""Sockets beyond ``max_connections`` that are still given an answer; more are dropped unheard."""
BACKLOG = 1024


class Listener:
    """Serves a gateway on ``gateway.listen`` and ``gateway.listeners``. An async context: leaving it closes every
    socket with GatewayStopping.

    ``port`` and ``url`` tell the address that was bound for ``gateway.listen``, and ``urls`` all of them in order, once
    entered.
    """

    def __init__(self, gateway: Gateway) -> None:
        """Raises ConfigError for TLS files that cannot be used."""
        self.gateway = gateway
        self.settings: Settings = gateway.config.gateway
        self.port: int | None = None
        self.urls: list[str] = []
        self._addresses = [
            (parse_address(text), generation)
            for text, generation in [
                (self.settings.listen, self.settings.generation),
                *((more.address, more.generation) for more in self.settings.listeners),
            ]
        ]
        self._tls = None if self.settings.tls is None else load_tls(self.settings.tls)
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._servers: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        """Of ``gateway.listen``."""
        return self.urls[0] if self.urls else ""

    def __len__(self) -> int:
        return len(self._connections)

    async def __aenter__(self) -> Self:
        """Bind. Raises OSError where an address is not to be had."""
        try:
            for address, generation in self._addresses:
                url = await self._bind(address, generation)
                self.urls.append(url)
                _log.info("listening", url=url, generation=generation)
        except BaseException:
            await self.stop()
            raise
        return self

    async def _bind(self, address: UnixAddress | TcpAddress, generation: str) -> str:
        loop, factory = asyncio.get_running_loop(), partial(Connection, self, generation)
        if isinstance(address, UnixAddress):
            self._servers.append(
                await loop.create_unix_server(factory, str(address.path), ssl=self._tls, backlog=BACKLOG)
            )
            return str(address)
        server = await loop.create_server(
            factory, address.host, address.port, ssl=self._tls, backlog=BACKLOG, reuse_address=True
        )
        self._servers.append(server)
        port = int(server.sockets[0].getsockname()[1])
        self.port = port if self.port is None else self.port
        return f"{'ws' if self._tls is None else 'wss'}://{_reachable(address.host)}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Accept no more, close every socket and wait for it, at most ``close_timeout`` and ``drain_timeout``."""
        if not self._servers:
            return
        for server in self._servers:
            server.close()
        left_s = self.gateway.begin_stop()
        for connection in list(self._connections):
            connection.close(GatewayStopping())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), min(left_s, self.settings.close_timeout))
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()
        for server in self._servers:
            await server.wait_closed()
        self._unlink(len(self._servers))
        self._servers.clear()

    # --- connection.Host --------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be turned away: all places are taken, or the gateway stops.

        A client that is gone keeps its place until its canister is told, so that nobody can pile up farewells.
        """
        taken = len(self._connections) - 1 + self.gateway.departing
        return self.gateway.stopping or taken >= self.settings.max_connections

    def accepted(self, connection: Connection) -> None:
        """A socket is there."""
        self._connections.add(connection)
        self._empty.clear()
        self.gateway.stats.connections += 1
        if self.gateway.stopping or len(self._connections) > self.settings.max_connections + SURPLUS:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        """A socket is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _unlink(self, bound: int) -> None:
        """Remove the sockets of those addresses that were bound."""
        for address, _ in self._addresses[:bound]:
            if isinstance(address, UnixAddress):
                address.path.unlink(missing_ok=True)


def load_tls(tls: Tls) -> ssl.SSLContext:
    """A server context of a certificate chain and its key. Raises ConfigError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            [ConfigProblem(str(tls.certificate), "gateway.tls", f"with key {tls.key}: {error}")]
        ) from None
    return context


def _reachable(host: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{local}]" if ":" in local else local
