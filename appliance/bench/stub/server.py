"""The stub IC's HTTP/1.1 server: the endpoints that a gateway uses, blocks and delays."""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import orjson

from appliance.bench.stub.replica import StubReplica
from appliance.errors import GatewayError

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_PATH = re.compile(rb"/api/v([234])/(?:canister|subnet)/([a-z0-9-]+)/(call|query|read_state)")
_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
_REASONS = {200: b"OK", 202: b"Accepted", 400: b"Bad Request", 404: b"Not Found"}

WRONG_REQUEST = (GatewayError, ValueError, TypeError, KeyError)

Reply = Callable[[int, bytes], None]
"""Takes the HTTP status and the body."""


@dataclass(frozen=True)
class Latencies:
    """How slow the network is, in seconds: ``block_s`` from a call to the block that certifies it (0: with everything
    else that arrived meanwhile), the bounds of a further delay of calls and of queries, evenly distributed, and the
    time that each request and its answer spend on the way."""

    block_s: float = 0.0
    call_s: tuple[float, float] = (0.0, 0.0)
    query_s: tuple[float, float] = (0.0, 0.0)
    round_trip_s: float = 0.0


MAINNET = Latencies(1.0, (0.0, 1.0), (0.02, 0.2))
"""Calls are answered after 1 to 2 s, queries after 20 to 200 ms."""


class StubIc:
    """Serves a replica on loopback. An async context. ``commands`` handles what is posted to ``/bench/NAME``.

    Raises OSError on entry if the port is taken.
    """

    def __init__(self, replica: StubReplica, *, port: int = 0, seed: int = 0) -> None:
        self.replica = replica
        self.latencies = Latencies()
        self.url = ""
        self.commands: Callable[[str, dict[str, object]], object] = _no_command
        self._port = port
        self._random = random.Random(seed)  # noqa: S311 - delays, no secrets
        self._block_timer: asyncio.TimerHandle | None = None
        replica.on_work = self._schedule_block

    async def __aenter__(self) -> "StubIc":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._block_timer is not None:
            self._block_timer.cancel()

    def _schedule_block(self) -> None:
        if self._block_timer is None:
            self._block_timer = asyncio.get_running_loop().call_later(self.latencies.block_s, self._block)

    def _block(self) -> None:
        self._block_timer = None
        self.replica.block()

    def handle(self, path: bytes, body: bytes, reply: Reply) -> None:
        """Reply to a request, now or later. Raises GatewayError, ValueError, TypeError or KeyError if it is wrong."""
        if path == b"/api/v2/status":
            reply(200, self.replica.status())
        elif path.startswith(b"/bench/"):
            command = path.removeprefix(b"/bench/").decode()
            reply(200, orjson.dumps(self.commands(command, orjson.loads(body or b"{}"))))
        elif (match := _PATH.fullmatch(path)) is not None:
            self._receive(partial(self._handle_api, int(match[1]), match[3], body), reply)
        else:
            reply(404, b"the stub IC does not serve this path")

    def _receive(self, handle: Callable[[Reply], None], reply: Reply) -> None:
        """Let a request and its reply spend half of the round trip each on the way."""
        if way_s := self.latencies.round_trip_s / 2:
            back = partial(_reply_later, way_s, reply)
            asyncio.get_running_loop().call_later(way_s, _handle_or_refuse, handle, back)
        else:
            handle(reply)

    def _handle_api(self, version: int, kind: bytes, body: bytes, reply: Reply) -> None:
        low, high = self.latencies.call_s if kind == b"call" else self.latencies.query_s
        delayed = partial(_reply_later, self._random.uniform(low, high), reply) if high else reply
        if kind == b"read_state":
            delayed(200, self.replica.read_state(body, version))
        elif kind == b"query":
            delayed(200, self.replica.query(body, version))
        elif version == 2:
            self.replica.call(body, version, lambda _: None)
            reply(202, b"")
        else:
            self.replica.call(body, version, partial(delayed, 200))


def _no_command(name: str, _: dict[str, object]) -> object:
    raise ValueError(f"there is no command {name!r}")


def _handle_or_refuse(handle: Callable[[Reply], None], reply: Reply) -> None:
    try:
        handle(reply)
    except WRONG_REQUEST as error:
        reply(400, str(error).encode())


def _reply_later(delay_s: float, reply: Reply, status: int, body: bytes) -> None:
    asyncio.get_running_loop().call_later(delay_s, reply, status, body)


class _Connection(asyncio.Protocol):
    """Serves requests one after the other, as clients with a pool of connections send them."""

    def __init__(self, stub: StubIc) -> None:
        self._stub = stub
        self._data = bytearray()
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_busy:
            self._next_request()

    def _next_request(self) -> None:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._data[: end + 2])
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._data) < whole:
            return
        body = bytes(self._data[end + 4 : whole])
        del self._data[:whole]
        request = _REQUEST.match(head)
        self._is_busy = True
        if request is None:
            self._reply(400, b"this is no HTTP/1.1 request")
            return
        _handle_or_refuse(partial(self._stub.handle, request[2], body), self._reply)

    def _reply(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        content_type = b"application/cbor" if status == 200 else b"text/plain"
        self._transport.write(_HEAD % (status, _REASONS[status], content_type, len(body)) + body)
        self._is_busy = False
        if self._data:
            self._next_request()
