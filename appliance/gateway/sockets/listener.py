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
from appliance.gateway.sockets.addresses import Bound, Factory, Place, bind, places
from appliance.gateway.sockets.connection import Connection

_log = structlog.get_logger(__name__)

SETTLING = 3
"""Turns of the loop that it takes from an accepted socket to a connection."""
SURPLUS = 1000
"""Sockets beyond ``max_connections`` that are still given an answer; more are dropped unheard."""


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
        self.tls = _Tls() if self.settings.tls is None else _Tls.load(self.settings.tls)
        self.bound: list[Bound] = []
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
        """Bind. Raises OSError where an address is not to be had."""
        moving = await self.prepare(self.gateway.config)
        moving.swap()
        try:
            await moving.retire()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def prepare(self, new: Config) -> "Moving":
        """Get ready to serve the addresses of another configuration: binds those that are new.

        Raises ConfigError for TLS files that cannot be used and, once it serves, for an address that is not to be had;
        before, that is an OSError.
        """
        settings = new.gateway
        tls = _Tls() if settings.tls is None else _Tls.load(settings.tls)
        here, coming = list(self.bound), list[Bound]()
        try:
            for place, key in zip(places(settings), _keys(settings), strict=True):
                old = next((bound for bound in here if bound.is_at(place.address)), None)
                if old is None:
                    coming.append(await self._bind(place, key, with_tls=tls.context is not None))
                    continue
                here.remove(old)
                is_same = old.place == place and tls.digest == self.tls.digest
                coming.append(old if is_same else old.again(place, with_tls=tls.context is not None))
        except BaseException:
            _release(coming, keep=self.bound)
            raise
        return Moving(self, settings, coming, tls)

    async def _bind(self, place: Place, key: str, *, with_tls: bool) -> Bound:
        try:
            return await bind(place, with_tls=with_tls)
        except OSError as error:
            if not self.bound:  # a start may be tried again, the configuration is not at fault
                raise
            raise ConfigError([ConfigProblem("", key, error.strerror or str(error))]) from None

    def factory(self, place: Place) -> Factory:
        """What makes the connections of a place."""
        return partial(Connection, self, place.generation)

    async def stop(self) -> None:
        """Accept no more, close every socket and wait for it, at most ``close_timeout`` and what is left of the time
        for draining.
        """
        if not self.bound:
            return
        left_s = self.gateway.begin_stop()
        for bound in self.bound:
            bound.pause()
        await _settle()
        for bound in self.bound:
            bound.close(unlink=True)
        await _settle()
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

    # --- connection.Host --------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be turned away: all places are taken, or the gateway lets nobody in.

        A client that is gone keeps its place until its canister is told, so that nobody can pile up farewells.
        """
        taken = len(self._connections) - 1 + self.gateway.departing
        return not self.gateway.is_accepting or taken >= self.settings.max_connections

    def accepted(self, connection: Connection) -> None:
        """A socket is there."""
        self._connections.add(connection)
        self._empty.clear()
        self.gateway.counters.connections += 1
        if len(self._connections) > self.settings.max_connections + SURPLUS:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        """A socket is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


class Moving:
    """A listener that is ready to serve other addresses."""

    def __init__(self, listener: Listener, settings: Settings, coming: list[Bound], tls: "_Tls") -> None:
        self._listener = listener
        self._settings = settings
        self._coming = coming
        self._going = [bound for bound in listener.bound if bound not in coming]
        self._tls = tls

    def swap(self) -> None:
        """From now on the new settings hold. Sockets that are there stay as they are."""
        self._listener.settings = self._settings
        self._listener.tls = self._tls
        self._listener.bound = self._coming

    async def discard(self) -> None:
        """Give up the addresses that were taken."""
        _release(self._coming, keep=self._listener.bound)

    async def retire(self) -> None:
        """Accept at the new addresses, then no more at those that are not served any more. Raises OSError."""
        for bound in self._coming:
            if not bound.servers:
                await bound.serve(self._listener.factory(bound.place), self._tls.context)
                _log.info("listening", url=bound.url, generation=bound.place.generation)
        for bound in self._going:
            is_gone = not any(
                bound.is_at(coming.place.address) or coming.is_at(bound.place.address) for coming in self._coming
            )
            bound.close(unlink=is_gone)
            if is_gone:
                _log.info("not listening any more", url=bound.url)


@dataclass(frozen=True)
class _Tls:
    """A server context, and what its files held; neither where there is no TLS."""

    context: ssl.SSLContext | None = None
    digest: bytes = b""

    @classmethod
    def load(cls, tls: Tls) -> Self:
        """Raises ConfigError."""
        context = load_tls(tls)
        files = tls.certificate.read_bytes() + b"\0" + tls.key.read_bytes()
        return cls(context, hashlib.sha256(files).digest())


def _keys(settings: Settings) -> list[str]:
    """The key of each place, in their order."""
    return ["gateway.listen", *(f"gateway.listeners[{more.address}].address" for more in settings.listeners)]


def _release(bound: list[Bound], *, keep: list[Bound]) -> None:
    """Close what nobody is accepted at yet."""
    addresses = {one.place.address for one in keep}
    for one in bound:
        if one not in keep:
            one.close(unlink=one.place.address not in addresses)


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
    for _ in range(SETTLING):
        await asyncio.sleep(0)
