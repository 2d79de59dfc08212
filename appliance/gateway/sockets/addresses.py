"""Where a listener accepts: its sockets, and how one set of addresses becomes another without refusing anybody."""

import asyncio
import contextlib
import inspect
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from appliance.config.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Gateway as Settings
from appliance.gateway.sockets.inherited import find_inherited

BACKLOG = 1024

Factory = Callable[[], asyncio.BaseProtocol]


class Place(NamedTuple):
    """An address as it is configured, and the wire generation at its root."""

    address: TcpAddress | UnixAddress
    generation: str


@dataclass(eq=False)
class Bound:
    """A place whose sockets are bound. Nobody is accepted before ``serve``."""

    place: Place
    sockets: list[socket.socket]
    with_tls: bool
    is_ours: bool = True
    """Whether a Unix socket's file goes with it; one that was inherited is the service manager's."""
    servers: list[asyncio.AbstractServer] = field(default_factory=list)
    port: int | None = None
    """The one that was bound; None on a Unix socket."""

    def __post_init__(self) -> None:
        if isinstance(self.place.address, TcpAddress):
            self.port = int(self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where clients reach it."""
        address = self.place.address
        if isinstance(address, UnixAddress):
            return str(address)
        return f"{'wss' if self.with_tls else 'ws'}://{_reachable(address.host)}:{self.port}"

    def is_at(self, address: TcpAddress | UnixAddress) -> bool:
        """Whether this is the address, also where it had been left to chance which port that is."""
        here = self.place.address
        is_tcp = isinstance(here, TcpAddress) and isinstance(address, TcpAddress)
        return here == address or (is_tcp and (here[0], self.port) == address)

    def again(self, place: Place, *, with_tls: bool) -> "Bound":
        """The same sockets for another generation, or with TLS instead of without."""
        return Bound(place, [one.dup() for one in self.sockets], with_tls, self.is_ours)

    async def serve(self, factory: Factory, tls: ssl.SSLContext | None) -> None:
        """Accept clients from now on. Raises OSError."""
        loop = asyncio.get_running_loop()
        is_unix = isinstance(self.place.address, UnixAddress)
        create = loop.create_unix_server if is_unix else loop.create_server
        # from Python 3.13 on a server removes the file when it closes, though others may serve there
        can_keep = "cleanup_socket" in inspect.signature(create).parameters
        keeps: dict[str, Any] = {"cleanup_socket": False} if can_keep else {}
        for one in self.sockets:
            self.servers.append(await create(factory, sock=one, ssl=tls, backlog=BACKLOG, **keeps))

    def pause(self) -> None:
        """Accept no more, where the loop can be told: asyncio's loses what it has accepted when a server closes."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for one in getattr(server, "sockets", ()):
                loop.remove_reader(one.fileno())

    def close(self, *, unlink: bool) -> None:
        """Accept no more; sockets that were accepted stay. With ``unlink`` a Unix socket is removed from its folder."""
        for server in self.servers:
            server.close()
        for one in self.sockets[len(self.servers) :]:
            one.close()
        if unlink and self.is_ours and isinstance(self.place.address, UnixAddress):
            with contextlib.suppress(OSError):
                self.place.address.path.unlink(missing_ok=True)

    def abort_handshakes(self) -> None:
        """End the sockets that were accepted and are no connection yet, because their TLS handshake is not done.

        Nothing may wait for them: from Python 3.12.1 on a server's ``wait_closed()`` does, for the minute that a client
        may take for its handshake. Only 3.13 and newer can end them; with others the handshakes time out by themselves.
        """
        for server in self.servers:
            if (abort_clients := getattr(server, "abort_clients", None)) is not None:
                abort_clients()


def places(settings: Settings) -> list[Place]:
    """The places of a configuration, that of ``gateway.listen`` first."""
    return [
        Place(parse_address(settings.listen), settings.generation),
        *(Place(parse_address(more.address), more.generation) for more in settings.listeners),
    ]


async def bind(place: Place, *, with_tls: bool) -> Bound:
    """Take the address of a place, from the service manager where it has bound it. Raises OSError where it is not to be
    had.
    """
    if isinstance(place.address, UnixAddress):
        path = str(place.address.path)
        found = find_inherited(socket.AF_UNIX, path)
        return Bound(place, [found or _bind_unix(path)], with_tls, is_ours=found is None)
    host, port = place.address
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(addresses):
            sockets.append(find_inherited(family, address) or _bind_tcp(family, address))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return Bound(place, sockets, with_tls)


def _bind_tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)  # also sees that nobody else listens there
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"cannot listen on {address[0]} port {address[1]}: {error.strerror}") from None
    return one


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)  # of a process that is gone
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.bind(path)
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error.strerror}") from None
    return one


def _reachable(host: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{local}]" if ":" in local else local
