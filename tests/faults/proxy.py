"""An HTTP proxy in front of a local IC, which answers some requests wrongly.

Several proxies in front of one network are several endpoints of it: honest ones beside broken and lying ones. It speaks
HTTP/1.1 by itself, byte by byte, because most faults are such that no HTTP library would send them.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Container, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import aiohttp

if TYPE_CHECKING:
    from tests.faults.kinds.registry import Fault
    from tests.faults.liar import Liar

Kind = Literal["call", "query", "read_state"]

HEAD_LIMIT = 64 * 1024
REMEMBERED = 16


class NothingToSpoil(Exception):
    """The honest answer has not what this fault would spoil; the proxy passes it on as it is."""


@dataclass(frozen=True)
class Answer:
    """A response of the IC."""

    status: int
    content_type: str
    body: bytes

    def encoded(self, *headers: str) -> bytes:
        """The whole response in HTTP/1.1."""
        lines = [f"HTTP/1.1 {self.status} -", f"Content-Type: {self.content_type}"]
        lines += [f"Content-Length: {len(self.body)}", *headers]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Exchange:
    """One request, to be answered by a fault or honestly."""

    def __init__(self, endpoint: "Endpoint", path: str, body: bytes, random: Random, connection: "Connection") -> None:
        self.endpoint = endpoint
        self.path = path
        self.body = body
        self.random = random
        self.connection = connection
        self._honest: Answer | None = None

    @property
    def kind(self) -> str:
        """``call``, ``query``, ``read_state`` or ``status``."""
        return self.path.rpartition("/")[2]

    @property
    def liar(self) -> "Liar":
        """What a liar needs to know of the network."""
        return self.endpoint.liar

    async def honest(self) -> Answer:
        """The answer of the network; the request is passed on once. Remembered by the endpoint."""
        if self._honest is None:
            self._honest = await self.endpoint.forward(self.path, self.body)
            self.endpoint.memory[self.kind].append(self._honest)
        return self._honest

    async def send(self, answer: Answer) -> None:
        """A whole and valid response."""
        await self.connection.write(answer.encoded())

    async def send_body(self, body: bytes) -> None:
        """The honest response with another body."""
        honest = await self.honest()
        await self.send(Answer(honest.status, honest.content_type, body))


class Connection:
    """One connection of the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_over = False
        """Whether no further request is read."""

    async def request(self) -> tuple[str, bytes] | None:
        """Path and body of the next request, None at the end."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
            return head[0].split()[1], await self._reader.readexactly(int(headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def write(self, data: bytes) -> None:
        """Write and wait until the data is on its way. Raises ConnectionError."""
        self._writer.write(data)
        await self._writer.drain()

    def finish(self) -> None:
        """Close in good order after what was written."""
        self.is_over = True
        self._writer.close()

    def reset(self) -> None:
        """Close by a TCP reset; what was written may be lost."""
        self.is_over = True
        with contextlib.suppress(OSError):
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        self.is_over = True
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(HEAD_LIMIT):
                pass


class Endpoint:
    """One proxy. ``choose(kind, number, struck)`` decides how the ``number``-th request of a kind is answered: by a
    fault, or honestly for None; ``struck`` are the faults that have struck here. ``strikes`` counts these.
    """

    def __init__(
        self,
        upstream: str,
        session: aiohttp.ClientSession,
        liar: "Liar",
        choose: Callable[[str, int, Container[str]], "tuple[Fault, Random] | None"],
    ) -> None:
        self.liar = liar
        self.strikes: Counter[str] = Counter()
        self.memory: dict[str, deque[Answer]] = {
            kind: deque(maxlen=REMEMBERED) for kind in ("call", "query", "read_state", "status")
        }
        self.shelf: list[tuple[Answer, asyncio.Future[Answer]]] = []
        """An answer that waits to be swapped with another."""
        self._upstream = upstream
        self._session = session
        self._choose = choose
        self._requests: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()

    @property
    def url(self) -> str:
        """Where the gateway sends its requests."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Endpoint"]:
        """Accept connections; at the end all of them are cut and no task is left."""
        await self._listen()
        try:
            yield self
        finally:
            self._stop_listening()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def forward(self, path: str, body: bytes) -> Answer:
        """The answer of the network behind."""
        headers = {"Content-Type": "application/cbor"}
        async with self._session.request(
            "POST" if body else "GET", self._upstream + path, data=body or None, headers=headers
        ) as response:
            return Answer(response.status, response.content_type, await response.read())

    def refuse_for(self, seconds: float) -> None:
        """Cut every connection and refuse new ones for so long."""
        if self._server is None:
            return
        self._stop_listening()
        for connection in list(self._connections):
            connection.reset()
        self._start(self._listen_after(seconds))

    async def _listen_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=HEAD_LIMIT)
        self._port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start(self._serve(Connection(reader, writer)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            while not connection.is_over and (request := await connection.request()) is not None:
                await self._answer(*request, connection)
        except (ConnectionError, aiohttp.ClientError):
            pass  # the gateway has hung up in the middle of an answer, or the network is closed at the end
        finally:
            self._connections.discard(connection)
            connection.finish()

    async def _answer(self, path: str, body: bytes, connection: Connection) -> None:
        kind = path.rpartition("/")[2]
        self._requests[kind] += 1
        chosen = self._choose(kind, self._requests[kind], self.strikes)
        fault, random = chosen or (None, Random(0))
        exchange = Exchange(self, path, body, random, connection)
        if fault is None or not await self._strike(fault, exchange):
            await exchange.send(await exchange.honest())

    async def _strike(self, fault: "Fault", exchange: Exchange) -> bool:
        """Whether the fault has answered."""
        try:
            await fault.strike(exchange)
        except NothingToSpoil:
            return False
        except ConnectionError:
            pass  # the gateway has had enough of it
        self.strikes[fault.name] += 1
        return True
