"""Accepts sockets: TCP or Unix, with TLS or without."""

import asyncio
import contextlib
import ssl
from typing import Self

import structlog

from appliance.config.address import UnixAddress, parse_address
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
    """Serves a gateway on ``gateway.listen``. An async context: leaving it closes every socket with GatewayStopping.

    ``port`` and ``url`` tell the address that was bound, once entered.
    """

    def __init__(self, gateway: Gateway) -> None:
        """Raises ConfigError for TLS files that cannot be used."""
        self.gateway = gateway
        self.settings: Settings = gateway.config.gateway
        self.port: int | None = None
        self.url = ""
        self._address = parse_address(self.settings.listen)
        self._tls = None if self.settings.tls is None else load_tls(self.settings.tls)
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        return len(self._connections)

    async def __aenter__(self) -> Self:
        """Bind. Raises OSError where the address is not to be had."""
        loop = asyncio.get_running_loop()
        address = self._address
        if isinstance(address, UnixAddress):
            path = str(address.path)
            self._server = await loop.create_unix_server(self._connection, path, ssl=self._tls, backlog=BACKLOG)
            self.url = str(address)
        else:
            self._server = await loop.create_server(
                self._connection, address.host, address.port, ssl=self._tls, backlog=BACKLOG, reuse_address=True
            )
            self.port = int(self._server.sockets[0].getsockname()[1])
            self.url = f"{'ws' if self._tls is None else 'wss'}://{_reachable(address.host)}:{self.port}"
        _log.info("listening", url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Accept no more, close every socket and wait for it, at most ``close_timeout`` and ``drain_timeout``."""
        if self._server is None:
            return
        self._server.close()
        left_s = self.gateway.begin_stop()
        for connection in list(self._connections):
            connection.close(GatewayStopping())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), min(left_s, self.settings.close_timeout))
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()
        await self._server.wait_closed()
        self._server = None
        self._unlink()

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

    def _unlink(self) -> None:
        if isinstance(self._address, UnixAddress):
            self._address.path.unlink(missing_ok=True)

    def _connection(self) -> Connection:
        return Connection(self)


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
