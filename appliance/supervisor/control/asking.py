"""Asks a worker at its own control socket. HTTP/1.1 over a Unix socket, one request a connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import h11
import orjson

from appliance.control.auth.access import VOUCHED, Actor
from appliance.errors import WorkerAway

TIMEOUT_S = 60.0
"""For a whole answer; as long as commands wait for theirs (``control.client.TIMEOUT_S``)."""
MAX_ANSWER = 64 * 1024**2
READ_BYTES = 64 * 1024
BY_SUPERVISOR = Actor("supervisor", "admin", "unix")


@dataclass(frozen=True)
class Question:
    """A request. ``target`` is path and query; ``actor`` is who has sent it."""

    method: str
    target: str
    actor: Actor | None = BY_SUPERVISOR
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether the request was served."""
        return 200 <= self.status < 300

    @property
    def json(self) -> dict[str, object]:
        """The body. Raises ValueError if it is no object of JSON."""
        found = orjson.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("the answer is no object")
        return found


async def ask(number: int, path: Path, question: Question, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask worker ``number`` at its socket, ``path``. Raises WorkerAway."""
    try:
        async with asyncio.timeout(timeout_s), _answer(path, question) as (head, data):
            body = bytearray()
            async for part in data:
                body += part
                if len(body) > MAX_ANSWER:
                    raise WorkerAway(number, f"its answer has more than {MAX_ANSWER} bytes")
            return Answer(head.status_code, [(bytes(name), bytes(value)) for name, value in head.headers], bytes(body))
    except (OSError, TimeoutError, EOFError, h11.ProtocolError) as error:
        raise WorkerAway(number, str(error) or type(error).__name__) from error


@asynccontextmanager
async def stream(number: int, path: Path, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body of an answer that does not end. Raises WorkerAway."""
    try:
        async with _answer(path, question) as (_, data):
            yield data
    except (OSError, EOFError, h11.ProtocolError) as error:
        raise WorkerAway(number, str(error) or type(error).__name__) from error


@asynccontextmanager
async def _answer(path: Path, question: Question) -> AsyncIterator[tuple[h11.Response, AsyncIterator[bytes]]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, str(path))
        connection = h11.Connection(h11.CLIENT)
        actor = question.actor
        said = None if actor is None else [actor.name, actor.role, actor.address]
        headers = [
            ("Host", "localhost"),
            (VOUCHED.decode(), orjson.dumps(said).decode()),
            ("Content-Length", str(len(question.body))),
            ("Connection", "close"),
            *question.headers.items(),
        ]
        request = h11.Request(method=question.method, target=question.target, headers=headers)
        events = (request, h11.Data(data=question.body), h11.EndOfMessage())
        # A worker that refuses does not read the rest, and what it says can be read all the same. A stream of asyncio
        # would drop that.
        with suppress(BrokenPipeError, ConnectionResetError):
            await loop.sock_sendall(one, b"".join(connection.send(event) or b"" for event in events))
        head = await _next(connection, one)
        if not isinstance(head, h11.Response):
            raise EOFError("it closed the connection without an answer")
        yield head, _data(connection, one)


async def _data(connection: h11.Connection, one: socket.socket) -> AsyncIterator[bytes]:
    while isinstance(event := await _next(connection, one), h11.Data):
        yield bytes(event.data)


async def _next(connection: h11.Connection, one: socket.socket) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await asyncio.get_running_loop().sock_recv(one, READ_BYTES))
    return event
