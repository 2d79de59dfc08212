"""Serves an application over HTTP on one address, in the running event loop.

Two classes below reach into uvicorn. Its public interface is made for a process of its own: it takes over SIGINT and
SIGTERM, polls a flag ten times a second, closes nothing that has not sent a request, limits connections by answering
503 (which needs a complete request head first), and does not know the user behind a Unix socket. The control plane
shares its process with the gateway, so it needs the opposite of each. What is used of uvicorn:
``Server.capture_signals``, ``startup``, ``main_loop``, ``on_tick``, ``servers``, ``server_state``, and
``connections``, ``cycle``, ``client`` of ``H11Protocol``. ``tests/control/http/test_server.py`` notices when one of
them changes.
"""

import asyncio
import contextlib
import errno
import grp
import itertools
import logging
import os
import pwd
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.gateway.limits.rate_limits import network_of
from appliance.gateway.sockets.accepting.addresses import remove_dead_socket
from appliance.gateway.sockets.accepting.inherited import find_inherited
from appliance.private_files import make_private_folders
from appliance.threads import resolve

_log = structlog.get_logger(__name__)
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)

MODE = 0o660
MAX_CONNECTIONS = 256
"""Bounded, because they share the limit of open files with the clients of the gateway."""
MAX_PER_ADDRESS = 64
"""Connections of one address (IPv6: /64)."""
RESERVE = 16
"""Places above ``MAX_CONNECTIONS`` for connections that have shown no token: health checks get in even while everybody
else is there."""
ADMITTED = "icws.admitted"
"""Key of the ASGI scope that holds whether a request may do more than look at the health: it has a valid token, or came
over the Unix socket.
"""
MAX_HEAD = 64 * 1024
"""Bytes of a request head."""
HEAD_TIMEOUT_S = 5.0
"""From an accepted socket to the first request."""
TOKEN_TIMEOUT_S = 10.0
"""From there to a request with a valid token. Without one, a connection that has nothing under way is closed."""
KEEP_ALIVE_S = 60.0
STOP_S = 3.0
"""For requests under way at the shutdown."""
TICK_S = 1.0
"""How old the Date header of a response may be."""


class Permissions(NamedTuple):
    """Of a Unix socket, where everybody who may write may connect; ``group`` is a name or a number."""

    mode: int = MODE
    group: str | None = None


PERMISSIONS = Permissions()


class Server:
    """An async context. ``url`` is where it is served, once entered: ``unix:/path`` or ``http://host:port``."""

    def __init__(
        self,
        app: ASGIApp,
        address: TcpAddress | UnixAddress,
        name: str = "control plane",
        permissions: Permissions = PERMISSIONS,
    ) -> None:
        """``name`` is what is served, for the log."""
        self.url = ""
        self._name = name
        self._permissions = permissions
        self._address = address
        self._sockets: list[socket.socket] = []
        self._file: tuple[Path, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                proxy_headers=False,
                server_header=False,
                log_config=None,
                access_log=False,
                timeout_keep_alive=round(KEEP_ALIVE_S),
                timeout_graceful_shutdown=round(STOP_S),
                h11_max_incomplete_event_size=MAX_HEAD,
            )
        )

    async def __aenter__(self) -> Self:
        """Bind and serve. Raises OSError if the address cannot be bound."""
        if isinstance(self._address, UnixAddress):
            self._bind_unix(self._address.path)
        else:
            await self._bind_tcp(self._address)
        self._task = asyncio.create_task(self._server.serve(sockets=self._sockets))
        serves = asyncio.create_task(self._server.serves.wait())
        await asyncio.wait({self._task, serves}, return_when=asyncio.FIRST_COMPLETED)
        if serves.cancel():
            await self._task  # raises why it does not serve
        self._task.add_done_callback(self._ended)
        _log.info(self._name, url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let requests under way finish, for ``STOP_S`` at most, and close every connection."""
        self._server.stop()
        if self._task is not None:
            await self._task
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        for each in self._sockets:
            each.close()
        if self._file is not None:
            _unlink(*self._file)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self._server.should_exit:
            error = None if task.cancelled() else task.exception()
            _log.error(f"the {self._name} has stopped, the gateway keeps running", url=self.url, exc_info=error)

    def _bind_unix(self, path: Path) -> None:
        self.url = str(self._address)
        if (inherited := find_inherited(socket.AF_UNIX, str(path))) is not None:
            self._sockets.append(inherited)  # systemd owns its file and its mode
            return
        make_private_folders(path.parent.parent)
        path.parent.mkdir(mode=0o750, exist_ok=True)
        remove_dead_socket(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listening.fileno(), 0o600)  # before bind: otherwise others could connect between bind and chmod
            listening.bind(str(path))
            self._permit(path)
        except BaseException:
            listening.close()
            raise
        self._sockets.append(listening)
        self._file = (path, path.stat().st_ino)

    def _permit(self, path: Path) -> None:
        """Give the socket its group and its mode, in this order: the mode is for the group. Raises OSError."""
        mode, group = self._permissions
        if group is not None:
            try:
                os.chown(path, -1, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)
            except KeyError:
                raise OSError(errno.EINVAL, f"control.group: there is no group {group}", str(path)) from None
            except OSError as error:
                problem = f"control.group: the socket cannot be given to {group}: {error.strerror}"
                raise OSError(error.errno, f"{problem}; is the user of the gateway a member?", str(path)) from None
        path.chmod(mode)

    async def _bind_tcp(self, address: TcpAddress) -> None:
        found = await resolve(address.host, address.port)
        port = address.port
        try:
            for family, where in found:
                if (inherited := find_inherited(family, where)) is not None:
                    self._sockets.append(inherited)
                    continue
                listening = socket.socket(family, socket.SOCK_STREAM)
                self._sockets.append(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind((where[0], port, *where[2:]))
                port = port or int(listening.getsockname()[1])
        except OSError as error:
            for each in self._sockets:
                each.close()
            self._sockets.clear()
            raise OSError(error.errno, f"cannot serve the {self._name} at {address}: {error.strerror}") from None
        self.url = f"http://{TcpAddress(address.host, port)}"


class _Server(uvicorn.Server):
    """uvicorn as a part of a larger process: it leaves signals alone, and `stop` ends it at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.servers = []
        self.serves = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()

    async def main_loop(self) -> None:
        """Update the Date header until `stop`. Replaces a loop that polls ``should_exit`` every 0.1 s."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_S)


_NUMBERS = itertools.count()
"""Of connections in the order of their beginning. The time would not do: that of uvloop stands still for a millisecond,
in which many can begin."""


class _Connection(H11Protocol):
    """A connection that knows the user at the other end of a Unix socket, and that is closed if it sends no request, or
    none with a token.

    The newest always gets a place: where there are too many, the oldest without a token gives its own.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._number = next(_NUMBERS)
        self.client = self.client or _peer(transport)
        self._network = network_of(self.client[0])
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._check_head)
        if (surplus := self._surplus()) is not None:
            surplus.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    @property
    def is_admitted(self) -> bool:
        """Whether its last request had a valid token, or it is one of the Unix socket."""
        return self._network is None or bool(self._scope().get(ADMITTED))

    def _surplus(self) -> "_Connection | None":
        """The connection that has to go for this one, if there are too many."""
        here = [one for one in cast("set[_Connection]", self.connections) if not one.transport.is_closing()]
        same = [one for one in here if one._network is not None and one._network == self._network]
        waiting = [one for one in here if not one.is_admitted]
        if len(same) > MAX_PER_ADDRESS:
            return min((one for one in same if not one.is_admitted), key=lambda one: one._number)
        if len(here) - min(len(waiting), RESERVE) <= MAX_CONNECTIONS:
            return None
        counts = Counter(one._network for one in waiting)
        return min(waiting, key=lambda one: (-counts[one._network], one._number), default=self)

    def _check_head(self) -> None:
        request: object = self.cycle  # None before the first; annotated, since uvicorn says it is never None
        if request is None:
            self.transport.abort()
        elif not self.is_admitted:
            self._timer = self.loop.call_later(TOKEN_TIMEOUT_S, self._check_token)

    def _check_token(self) -> None:
        if self.is_admitted:
            return
        if self.cycle.response_complete:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(TOKEN_TIMEOUT_S, self._check_token)

    def _scope(self) -> Mapping[str, Any]:
        return getattr(self, "scope", None) or {}


def _peer(transport: asyncio.BaseTransport) -> tuple[str, int]:
    """``unix:USER`` and the process id of the other end, from the kernel (SO_PEERCRED, unix(7))."""
    connected: Any = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if connected is None or option is None or connected.family != socket.AF_UNIX:
        return "unix", 0
    pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return f"unix:{_user(uid)}", pid


@lru_cache(maxsize=256)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unlink(path: Path, inode: int) -> None:
    """Remove our socket file, unless another process has replaced it since."""
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()
