"""The sockets of a listener: bound, duplicated for other settings, served and closed without refusing anybody."""

import contextlib
import errno
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from appliance.config.fields.address import TcpAddress, UnixAddress, parse_address
from appliance.config.schema import Gateway as Settings
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sockets.accepting import sources
from appliance.gateway.sockets.accepting.acceptor import Acceptor, Arrived
from appliance.gateway.sockets.accepting.inherited import find_inherited
from appliance.threads import resolve

BACKLOG = 1024
"""Connections that the kernel completes and keeps until they are accepted."""


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
    is_inherited: bool = False
    """Whether the service manager, or the supervisor of this worker, has bound it and keeps it: also the file of a Unix
    socket."""
    _acceptors: list[Acceptor] = field(default_factory=list)
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
        return ListeningSocket(listen, [one.dup() for one in self.sockets], with_tls, self.is_inherited)

    @property
    def is_served(self) -> bool:
        """Whether clients are accepted here."""
        return bool(self._acceptors)

    def serve(self, arrived: Arrived, counters: Counters) -> None:
        """Begin to accept clients."""
        self._acceptors = [Acceptor(one, arrived, counters) for one in self.sockets]
        for acceptor in self._acceptors:
            acceptor.start()

    def pause(self) -> None:
        """Accept no more, but keep the sockets open: clients wait in the kernel's queue."""
        for acceptor in self._acceptors:
            acceptor.stop()

    def go_on(self) -> None:
        """Accept again after `pause`."""
        for acceptor in self._acceptors:
            acceptor.start()

    def close(self, *, unlink: bool) -> None:
        """Accept no more; accepted sockets stay. With ``unlink`` the file of a Unix socket is removed."""
        self.pause()
        for one in self.sockets:
            one.close()
        if unlink and not self.is_inherited and isinstance(self.listen.address, UnixAddress):
            with contextlib.suppress(OSError):
                self.listen.address.path.unlink(missing_ok=True)


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
        one, is_kept = await _listening(socket.AF_UNIX, str(listen.address.path))
        return ListeningSocket(listen, [one], with_tls, is_kept)
    host, port = listen.address
    addresses = await resolve(host, port, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    is_inherited = True
    try:
        for family, address in addresses:
            one, is_kept = await _listening(family, address)
            is_inherited &= is_kept
            sockets.append(one)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return ListeningSocket(listen, sockets, with_tls, is_inherited)


async def _listening(family: int, address: Any) -> tuple[socket.socket, bool]:
    """A socket that listens there, and whether it outlives this process. Raises OSError."""
    if sources.elsewhere is not None:
        return await sources.elsewhere(family, address), True
    return listening(family, address)


def listening(family: int, address: Any) -> tuple[socket.socket, bool]:
    """A socket that listens at an address, and whether the service manager keeps it. Raises OSError."""
    if (found := find_inherited(family, address)) is not None:
        return found, True
    return _bind_unix(address) if family == socket.AF_UNIX else _bind_tcp(family, address), False


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
    try:
        remove_dead_socket(Path(path))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error.strerror}") from None
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.bind(path)
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error.strerror}") from None
    return one


def remove_dead_socket(path: Path) -> None:
    """Remove the socket file of a process that has ended, on which a bind would fail. Raises OSError if a process
    serves there, or the file is no socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file exists there, and it is not a socket", str(path))
    except FileNotFoundError:
        return
    if is_served(path):
        raise OSError(errno.EADDRINUSE, "another process serves there", str(path))
    path.unlink(missing_ok=True)


def is_served(path: Path) -> bool:
    """Whether a process accepts connections at a Unix socket. Connects, and sends nothing. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            pass  # its queue is full, so somebody is there
    return True


def _reachable(host: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{local}]" if ":" in local else local
