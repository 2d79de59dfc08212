"""A gateway of a few lines that can be made to lie, over loopback (wire generation v2)."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed as SocketClosed

from appliance.client import Connection, connect
from appliance.crypto import CandidTypes
from tests.client.canister import CANISTER_ID, CLIENT, HANDSHAKE, NOW_NS, ROOT, Canister, message_of, sent

MESSAGE = "record {text: text}"
TYPES = CandidTypes(f"({MESSAGE})")

Script = Callable[[ServerConnection, Canister], Awaitable[None]]


class LyingGateway:
    """Opens each session properly, then does what a script says: the first session the first one, and so on; those
    after the last do as the last."""

    def __init__(self, *scripts: Script, opens: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._scripts = scripts
        self._opens = opens
        self.connections = 0
        self.closes: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    async def __aenter__(self) -> "LyingGateway":
        self._server = await serve(self._handle, "127.0.0.1", 0, compression=None, ssl=self._tls)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws{'s' if self._tls else ''}://127.0.0.1:{port}/v2"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def stop_listening(self) -> None:
        """Refuse further connections; those that are open stay."""
        self._server.close(close_connections=False)

    async def _handle(self, socket: ServerConnection) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        canister = Canister()
        try:
            if self._opens:
                await opened(socket, canister)
            await script(socket, canister)
            await socket.wait_closed()
        except SocketClosed:
            pass
        finally:
            self.closes.put_nowait((socket.close_code, socket.close_reason))

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Connection]:
        return connect(self.url, CANISTER_ID, **{**SETTINGS, **options})


SETTINGS: dict[str, Any] = {
    "identity": CLIENT,
    "root_key": ROOT.public_key,
    "message_type": MESSAGE,
    "clock": lambda: NOW_NS,
}
"""Of clients of such a gateway."""


async def opened(socket: ServerConnection, canister: Canister) -> None:
    """Open a session as gateway and canister do."""
    await socket.send(HANDSHAKE)
    canister.client_nonce = _nonce(await frame_from(socket))
    await socket.send(canister.open())


async def frame_from(socket: ServerConnection) -> bytes:
    frame = await socket.recv()
    assert isinstance(frame, bytes)
    return frame


def _nonce(frame: bytes) -> int:
    (argument,) = CandidTypes("(record {client_nonce: nat64})").decode(sent(frame).arg)
    assert isinstance(argument, dict)
    nonce = argument["client_nonce"]
    assert isinstance(nonce, int)
    return nonce


def text(value: str) -> bytes:
    return TYPES.encode({"text": value})


async def echo(socket: ServerConnection, canister: Canister) -> None:
    """Answers each message with itself."""
    async for frame in socket:
        assert isinstance(frame, bytes)
        content = message_of(frame)["content"]
        assert isinstance(content, bytes)
        await socket.send(canister.message(content))


async def idle(_socket: ServerConnection, _canister: Canister) -> None:
    """Says nothing."""


async def gap(socket: ServerConnection, canister: Canister) -> None:
    """Leaves a message out."""
    canister.message(b"never sent")
    await socket.send(canister.message(text("next")))


async def broken(socket: ServerConnection, _canister: Canister) -> None:
    """Is gone without a word."""
    socket.transport.abort()


def deaf(until: asyncio.Event, *, say: Script = idle) -> Script:
    """Reads nothing from now on, and is gone after the event."""

    async def script(socket: ServerConnection, canister: Canister) -> None:
        socket.transport.pause_reading()
        await say(socket, canister)
        await until.wait()
        socket.transport.abort()

    return script


def closing(code: int, reason: str = "") -> Script:
    """Closes the socket with a code."""

    async def script(socket: ServerConnection, _canister: Canister) -> None:
        await socket.close(code, reason)

    return script


def saying(*texts: str, then: Script) -> Script:
    """Sends messages before it does something else."""

    async def script(socket: ServerConnection, canister: Canister) -> None:
        for each in texts:
            await socket.send(canister.message(text(each)))
        await then(socket, canister)

    return script
