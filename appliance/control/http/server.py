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
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.gateway.sockets.inherited import find_inherited

_log = structlog.get_logger(__name__)
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)

MODE = 0o660
"""Of the Unix socket: everybody who may write to it is an admin."""
MAX_CONNECTIONS = 256
"""Bounded, because they share the limit of open files with the clients of the gateway."""
MAX_HEAD = 64 * 1024
"""Bytes of a request head."""
HEAD_TIMEOUT_S = 10.0
"""From an accepted socket to the first request."""
KEEP_ALIVE_S = 60.0
STOP_S = 3.0
"""For requests under way at the shutdown."""
TICK_S = 1.0
"""How old the Date header of a response may be."""


class Server:
    """An async context. ``url`` is where it is served, once entered: ``unix:/path`` or ``http://host:port``."""

    def __init__(self, app: ASGIApp, address: TcpAddress | UnixAddress) -> None:
        self.url = ""
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
        _log.info("control plane", url=self.url)
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
            _log.error("the control plane has stopped, the gateway keeps running", url=self.url, exc_info=error)

    def _bind_unix(self, path: Path) -> None:
        self.url = str(self._address)
        if (inherited := find_inherited(socket.AF_UNIX, str(path))) is not None:
            self._sockets.append(inherited)  # systemd owns its file and its mode
            return
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _clear(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listening.fileno(), 0o600)  # before bind: otherwise others could connect between bind and chmod
            listening.bind(str(path))
            path.chmod(MODE)
        except BaseException:
            listening.close()
            raise
        self._sockets.append(listening)
        self._file = (path, path.stat().st_ino)

    async def _bind_tcp(self, address: TcpAddress) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        port = address.port
        try:
            for family, _, _, _, where in dict.fromkeys(found):
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
            raise OSError(error.errno, f"cannot serve the control plane at {address}: {error.strerror}") from None
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


class _Connection(H11Protocol):
    """A connection that knows the user at the other end of a Unix socket, and that is closed if it sends no request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        if len(self.connections) > MAX_CONNECTIONS:
            self.transport.abort()
            return
        self.client = self.client or _peer(transport)
        self._first_request = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_first_request"):
            self._first_request.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        request: object = self.cycle  # None before the first; annotated, since uvicorn says it is never None
        if request is None:
            self.transport.abort()


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


def _clear(path: Path) -> None:
    """Remove the socket file of a process that has ended. Raises OSError if a process serves there, or it is no
    socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file exists there, and it is not a socket", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, "another process serves there", str(path))


def _unlink(path: Path, inode: int) -> None:
    """Remove our socket file, unless another process has replaced it since."""
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()
