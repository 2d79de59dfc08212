"""The sockets of a listener: bound, duplicated for other settings, served and closed without refusing anybody."""

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

from appliance.config.fields.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Gateway as Settings
from appliance.gateway.sockets.inherited import find_inherited

BACKLOG = 1024
"""Connections that the kernel completes and keeps until they are accepted."""

Factory = Callable[[], asyncio.BaseProtocol]


class ListenAddress(NamedTuple):
    """An address of the configuration, and the wire generation at its path ``/``."""

    address: TcpAddress | UnixAddress
    generation: str


@dataclass(eq=False)
class ListeningSocket:
    """An address whose sockets are bound: one, or one for each IP address of a host name.

    They listen from the moment they are bound, so clients wait in the kernel's queue until ``serve``.
    """

    listen: ListenAddress
    sockets: list[socket.socket]
    with_tls: bool
    is_ours: bool = True
    """Whether closing may remove a Unix socket's file; that of an inherited one belongs to the service manager."""
    servers: list[asyncio.AbstractServer] = field(default_factory=list)
    port: int | None = None
    """The bound port; None on a Unix socket."""

    def __post_init__(self) -> None:
        if isinstance(self.listen.address, TcpAddress):
            self.port = int(self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The URL for clients."""
        address = self.listen.address
        if isinstance(address, UnixAddress):
            return str(address)
        return f"{'wss' if self.with_tls else 'ws'}://{_reachable(address.host)}:{self.port}"

    def is_at(self, address: TcpAddress | UnixAddress) -> bool:
        """Whether this is the address; port 0 of the configuration matches, and so does the port that it became."""
        here = self.listen.address
        is_tcp = isinstance(here, TcpAddress) and isinstance(address, TcpAddress)
        return here == address or (is_tcp and (here[0], self.port) == address)

    def duplicate(self, listen: ListenAddress, *, with_tls: bool) -> "ListeningSocket":
        """The same sockets for another generation, or with TLS instead of without.

        Duplicated descriptors share one queue in the kernel: the old ones can be closed when the new ones are served,
        and no connection is refused between. Binding the address again would need SO_REUSEPORT, whose queues are apart,
        and would reset the connections in the closed one.
        """
        return ListeningSocket(listen, [one.dup() for one in self.sockets], with_tls, self.is_ours)

    async def serve(self, factory: Factory, tls: ssl.SSLContext | None) -> None:
        """Begin to accept clients. Raises OSError."""
        loop = asyncio.get_running_loop()
        is_unix = isinstance(self.listen.address, UnixAddress)
        create = loop.create_unix_server if is_unix else loop.create_server
        # From Python 3.13 on a server removes the file when it closes, though a duplicate may still serve there.
        can_keep = "cleanup_socket" in inspect.signature(create).parameters
        keeps: dict[str, Any] = {"cleanup_socket": False} if can_keep else {}
        for one in self.sockets:
            self.servers.append(await create(factory, sock=one, ssl=tls, backlog=BACKLOG, **keeps))

    def pause(self) -> None:
        """Accept no more, but keep the servers open until the sockets that were accepted have become connections.

        asyncio accepts a socket in one turn of the loop and attaches its transport to the server in the next; on a
        server that was closed between the two this fails, and the client is reset without an answer. Removing the
        reader stops accepting and nothing else; the server is closed ``listener.SETTLING_TURNS`` later. uvloop accepts
        in its own core, where no such reader exists and no accepted socket is lost: there it changes nothing.
        """
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for one in getattr(server, "sockets", ()):
                loop.remove_reader(one.fileno())

    def close(self, *, unlink: bool) -> None:
        """Accept no more; accepted sockets stay. With ``unlink`` the file of a Unix socket is removed."""
        for server in self.servers:
            server.close()
        for one in self.sockets[len(self.servers) :]:
            one.close()
        if unlink and self.is_ours and isinstance(self.listen.address, UnixAddress):
            with contextlib.suppress(OSError):
                self.listen.address.path.unlink(missing_ok=True)

    def abort_handshakes(self) -> None:
        """End the sockets that were accepted and are no connection yet, because their TLS handshake is not done.

        Nothing may wait for them: from Python 3.12.1 on a server's ``wait_closed()`` does, for the minute that a client
        may take for its handshake. Only 3.13 and newer can end them; with others the handshakes time out by themselves.
        """
        for server in self.servers:
            if (abort_clients := getattr(server, "abort_clients", None)) is not None:
                abort_clients()


def listen_addresses(settings: Settings) -> list[ListenAddress]:
    """The addresses of a configuration, ``gateway.listen`` first."""
    return [
        ListenAddress(parse_address(settings.listen), settings.generation),
        *(ListenAddress(parse_address(more.address), more.generation) for more in settings.listeners),
    ]


async def bind(listen: ListenAddress, *, with_tls: bool) -> ListeningSocket:
    """Bind an address, or take it from the service manager if that has bound it (``inherited``).

    Raises OSError where it cannot be bound.
    """
    if isinstance(listen.address, UnixAddress):
        path = str(listen.address.path)
        found = find_inherited(socket.AF_UNIX, path)
        return ListeningSocket(listen, [found or _bind_unix(path)], with_tls, is_ours=found is None)
    host, port = listen.address
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
    return ListeningSocket(listen, sockets, with_tls)


def _bind_tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)  # here, not in serve: with SO_REUSEADDR only this fails if somebody else listens there
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"cannot listen on {address[0]} port {address[1]}: {error.strerror}") from None
    return one


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)  # left behind by a process that was killed; bind would fail on it
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
