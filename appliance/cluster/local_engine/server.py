"""Serves a board to the workers of one machine, at a Unix socket that only their user may open."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

import structlog

from appliance.cluster.local_engine import frames
from appliance.cluster.local_engine.board import Board
from appliance.cluster.local_engine.encoding import methods
from appliance.errors import EngineAway, GatewayError, Malformed

_log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 256
"""Each worker has one; 64 workers are the most."""
MAX_UNREAD = 4 * 1024 * 1024
"""Bytes that a worker has not read. Then its connection is closed, and it makes another: what it rings for is lost."""
_CREDENTIALS = "3i"
"""Of the kernel: process, user, group (SO_PEERCRED, unix(7))."""


class EngineServer:
    """An async context that serves ``board`` at ``path``, whose folder must be private."""

    def __init__(self, board: Board, path: Path, *, clock_ms: Callable[[], int] = lambda: time.monotonic_ns() // 10**6):
        self.board = board
        self.path = path
        self.connections: set[_Connection] = set()
        self._clock_ms = clock_ms
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Raises OSError."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            os.fchmod(listening.fileno(), 0o600)  # before bind: otherwise others could connect before a chmod
            listening.bind(str(self.path))
            self.path.chmod(0o600)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listening)
        except BaseException:
            listening.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for each in list(self.connections):
            each.abort()
        self.path.unlink(missing_ok=True)

    def answer(self, name: str, arguments: object) -> object:
        """Do one method. Raises Malformed and EngineAway."""
        if (method := methods().get(name)) is None:
            raise Malformed("frame of the engine", f"there is no method {name!r:.40}")
        given, named = method.read(arguments)
        self.board.now_ms = self._clock_ms()
        self.board.sweep()
        _, _, of_registry = name.partition(".")
        does = getattr(self.board.registry, of_registry) if of_registry else getattr(self.board, name)
        return method.answer[0](does(*given, **named))

    def died(self, node: str) -> None:
        """The process of this node has ended."""
        self.board.died(node)


class _Connection(asyncio.Protocol):
    """One worker. A frame that cannot be read closes the connection: what follows it cannot be found."""

    def __init__(self, server: EngineServer) -> None:
        self.listens = False
        self._server = server
        self._frames = frames.Frames()
        self._incarnation = ""
        self._passing: list[Callable[[bytes], None]] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not _is_own_user(transport.get_extra_info("socket")) or len(self._server.connections) >= MAX_CONNECTIONS:
            _log.error("a connection to the engine of the workers is refused")
            self.abort()
            return
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        board = self._server.board
        for each in self._passing:
            for many in (board.listeners, board.hearers):
                if each in many:
                    many.remove(each)
        if self._incarnation and board.told.get(self._incarnation) in self._passing:
            del board.told[self._incarnation]

    def data_received(self, data: bytes) -> None:
        try:
            for number, *rest in self._frames.feed(data):
                self._answer(number, *rest)
        except (GatewayError, TypeError) as error:  # TypeError: of frames with too few or too many parts
            _log.error("a worker sent what its engine cannot read", cause=str(error))
            self.abort()

    def _answer(self, number: int, name: str, arguments: object) -> None:
        if name in ("listen", "hear"):
            self._pass_on(name, arguments)
            self.send(frames.encode(number, None))
            return
        try:
            self.send(frames.encode(number, self._server.answer(name, arguments)))
        except EngineAway as error:
            self.send(frames.encode(number, None, error.problem))

    def _pass_on(self, name: str, arguments: object) -> None:
        """Pass on what is rung and told to this worker, or the queues that have new entries. Raises Malformed."""

        def passing(number: int) -> Callable[[bytes], None]:
            one = lambda message: self.send(frames.encode(number, message.hex()))  # noqa: E731
            self._passing.append(one)
            return one

        board = self._server.board
        if name == "hear":
            board.hearers.append(passing(frames.HEARD))
            return
        if not (isinstance(arguments, list) and len(arguments) == 1 and isinstance(arguments[0], str)):
            raise Malformed("frame of the engine", "it names no process that listens")
        self._incarnation, self.listens = arguments[0], True
        board.listeners.append(passing(frames.RUNG))
        board.told[self._incarnation] = passing(frames.TOLD)

    def send(self, frame: bytes) -> None:
        """Write a frame, unless too many wait to be read already."""
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            _log.warning("a worker does not read what its engine says, its connection is closed")
            self.abort()
        elif not self._transport.is_closing():
            self._transport.write(frame)

    def abort(self) -> None:
        """Close the connection, whatever has been written."""
        self._transport.abort()


def _is_own_user(connected: socket.socket) -> bool:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True  # the folder is private
    _, user, _ = struct.unpack(_CREDENTIALS, connected.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(user == os.geteuid())
