"""Accepts sockets: TCP or Unix, with TLS or without."""

import asyncio
import contextlib
import hashlib
import ssl
from dataclasses import dataclass
from functools import partial
from typing import Self

import structlog

from appliance.config.schema import Config, Tls
from appliance.config.schema import Gateway as Settings
from appliance.errors import ConfigError, ConfigProblem, GatewayStopping
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.addresses import Factory, ListenAddress, ListeningSocket, bind, listen_addresses
from appliance.gateway.sockets.connection import Connection

_log = structlog.get_logger(__name__)

SETTLING_TURNS = 3
"""Turns of asyncio's loop from an accepted socket to a connection in the listener: accept, then the task that makes the
transport, then ``connection_made``. Nothing can be awaited for this: the loop keeps no list of what it has accepted.
With too few, clients that were accepted when the gateway stops are reset instead of answered; more do no harm.
"""
SURPLUS = 1000
"""Sockets above ``max_connections`` that still get the answer 503; those beyond are reset."""


class Listener:
    """Serves a gateway on ``gateway.listen`` and ``gateway.listeners``. An async context: leaving it closes every
    socket with GatewayStopping.

    Once entered, ``port`` and ``url`` are those bound for ``gateway.listen``, and ``urls`` those of all addresses in
    order.
    """

    def __init__(self, gateway: Gateway) -> None:
        """Raises ConfigError for TLS files that cannot be used."""
        self.gateway = gateway
        self.settings: Settings = gateway.config.gateway
        self.tls = _Tls() if self.settings.tls is None else _Tls.load(self.settings.tls)
        self.bound: list[ListeningSocket] = []
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

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
        return len(self._connections)

    async def __aenter__(self) -> Self:
        """Bind. Raises OSError where an address cannot be bound."""
        prepared = await self.prepare(self.gateway.config)
        prepared.commit()
        try:
            await prepared.cleanup()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def prepare(self, new: Config) -> "PreparedListener":
        """Get ready to serve the addresses of another configuration: binds those that are new.

        Raises ConfigError for TLS files that cannot be used and for an address that cannot be bound; the latter is an
        OSError until the listener serves.
        """
        settings = new.gateway
        tls = _Tls() if settings.tls is None else _Tls.load(settings.tls)
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

    def factory(self, listen: ListenAddress) -> Factory:
        """The protocol factory of an address."""
        return partial(Connection, self, listen.generation)

    async def stop(self) -> None:
        """Accept no more, close every socket and wait for it, at most ``close_timeout`` and what is left of the time
        for draining.

        The order matters: pause, let accepted sockets become connections, close the servers, and only then close the
        connections; otherwise a client accepted in between would stay without an answer.
        """
        if not self.bound:
            return
        left_s = self.gateway.begin_stop()
        for bound in self.bound:
            bound.pause()
        await _settle()
        for bound in self.bound:
            bound.close(unlink=True)
        await _settle()  # uvloop, which pause does not stop, has accepted until now
        for connection in list(self._connections):
            connection.close(GatewayStopping())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), min(left_s, self.settings.close_timeout))
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()
        for bound in self.bound:
            bound.abort_handshakes()
        self.bound.clear()

    # --- connection.ConnectionOwner ---------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be rejected: ``max_connections`` is reached, or the gateway accepts nobody.

        A client that is gone counts until its close call is done: otherwise clients that connect and leave quickly
        could pile up close calls without bound.
        """
        taken = len(self._connections) - 1 + self.gateway.pending_close_calls  # without the one that asks
        return not self.gateway.is_accepting or taken >= self.settings.max_connections

    def accepted(self, connection: Connection) -> None:
        """Count a socket."""
        self._connections.add(connection)
        self._empty.clear()
        self.gateway.counters.connections += 1
        if len(self._connections) > self.settings.max_connections + SURPLUS:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        """Forget a socket."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


class PreparedListener:
    """A listener with its new addresses bound, and not accepting there yet."""

    def __init__(self, listener: Listener, settings: Settings, coming: list[ListeningSocket], tls: "_Tls") -> None:
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
        """Accept at the new addresses, then close the old ones: in this order there is always one to connect to. Raises
        OSError."""
        for bound in self._coming:
            if not bound.servers:
                await bound.serve(self._listener.factory(bound.listen), self._tls.context)
                _log.info("listening", url=bound.url, generation=bound.listen.generation)
        for bound in self._going:
            is_gone = not any(
                bound.is_at(coming.listen.address) or coming.is_at(bound.listen.address) for coming in self._coming
            )
            bound.close(unlink=is_gone)
            if is_gone:
                _log.info("not listening any more", url=bound.url)


@dataclass(frozen=True)
class _Tls:
    """A server context and a digest of its files, by which a reload sees that they changed; neither without TLS."""

    context: ssl.SSLContext | None = None
    digest: bytes = b""

    @classmethod
    def load(cls, tls: Tls) -> Self:
        """Raises ConfigError."""
        context = load_tls(tls)
        files = tls.certificate.read_bytes() + b"\0" + tls.key.read_bytes()
        return cls(context, hashlib.sha256(files).digest())


def _keys(settings: Settings) -> list[str]:
    """The configuration key of each address, in their order."""
    return ["gateway.listen", *(f"gateway.listeners[{more.address}].address" for more in settings.listeners)]


def _release(bound: list[ListeningSocket], *, keep: list[ListeningSocket]) -> None:
    """Close sockets that were bound and are not served."""
    addresses = {one.listen.address for one in keep}
    for one in bound:
        if one not in keep:
            one.close(unlink=one.listen.address not in addresses)


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


async def _settle() -> None:
    """Let every socket that was accepted become a connection."""
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
