"""The stub IC's process: HTTP/1.1 on one port, blocks, delays, and the orders of the load generator (``/bench/…``)."""

import asyncio
import random
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import cast

import orjson

from appliance.bench.replica import StubReplica
from appliance.bench.wire import Tail
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_PATH = re.compile(rb"/api/v([234])/(?:canister|subnet)/([a-z0-9-]+)/(call|query|read_state)")
_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
_REASONS = {200: b"OK", 202: b"Accepted", 400: b"Bad Request", 404: b"Not Found"}


@dataclass(frozen=True)
class Conditions:
    """How slow the network is: ``block_s`` between blocks (0: as soon as there is something), and how long a call and
    a query take beside that, each drawn evenly between two bounds (seconds)."""

    block_s: float = 0.0
    call_s: tuple[float, float] = (0.0, 0.0)
    query_s: tuple[float, float] = (0.0, 0.0)

    @staticmethod
    def like_mainnet() -> "Conditions":
        """Blocks of a second, calls of 1 to 2 s, queries of 20 to 200 ms."""
        return Conditions(1.0, (0.1, 1.0), (0.02, 0.2))


class StubIc:
    """Serves one replica. An async context."""

    def __init__(self, replica: StubReplica, conditions: Conditions, *, seed: int = 0) -> None:
        self.replica = replica
        self.conditions = conditions
        self.url = ""
        self._chance = random.Random(seed)  # noqa: S311 - delays, no secrets
        self._block_timer: asyncio.TimerHandle | None = None
        self._speakers: set[asyncio.TimerHandle] = set()
        replica.due = self._schedule_block

    async def __aenter__(self) -> "StubIc":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Http(self), "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for timer in (self._block_timer, *self._speakers):
            if timer is not None:
                timer.cancel()

    def _schedule_block(self) -> None:
        if self._block_timer is None:
            self._block_timer = asyncio.get_running_loop().call_later(self.conditions.block_s, self._block)

    def _block(self) -> None:
        self._block_timer = None
        self.replica.block()

    # --- requests ---------------------------------------------------------------------------------------------------

    def handle(self, path: bytes, body: bytes, answer: Callable[[int, bytes], None]) -> None:
        """Answer a request, now or later."""
        if path == b"/api/v2/status":
            answer(200, self.replica.status())
        elif path.startswith(b"/bench/"):
            answer(200, orjson.dumps(self._order(path.removeprefix(b"/bench/").decode(), orjson.loads(body or b"{}"))))
        elif (match := _PATH.fullmatch(path)) is not None:
            self._ask(int(match[1]), match[3], body, answer)
        else:
            answer(404, b"the stub IC does not serve this")

    def _ask(self, version: int, kind: bytes, body: bytes, answer: Callable[[int, bytes], None]) -> None:
        low, high = self.conditions.call_s if kind == b"call" else self.conditions.query_s
        later = partial(self._later, self._chance.uniform(low, high), answer) if high else answer
        if kind == b"read_state":
            later(200, self.replica.read_state(body, version))
        elif kind == b"query":
            later(200, self.replica.query(body, version))
        elif version == 2:
            self.replica.call(body, 3, lambda _: None)
            answer(202, b"")
        else:
            self.replica.call(body, version, partial(later, 200))

    def _later(self, delay_s: float, answer: Callable[[int, bytes], None], status: int, body: bytes) -> None:
        asyncio.get_running_loop().call_later(delay_s, answer, status, body)

    # --- what the load generator orders -----------------------------------------------------------------------------

    def _order(self, what: str, order: dict[str, object]) -> object:
        match what:
            case "facts":
                return asdict(self.replica.facts)
            case "answers":
                self.replica.answers = order["answers"]  # type: ignore[assignment]  # ours
                return {}
            case "prepare":
                return self._prepare(**order)  # type: ignore[arg-type]
            case "release":
                return self._release(**order)  # type: ignore[arg-type]
            case "speak":
                return self._speak(**order)  # type: ignore[arg-type]
        raise ValueError(f"there is no order {what!r}")

    def _prepare(self, canister: str, pages: int, page_size: int, size: int, *, shared: bool) -> dict[str, int]:
        prepared = self.replica.canister(Principal.from_text(canister))
        prepared.page_size = page_size
        certify = partial(self.replica.certify, bytes(prepared.canister_id))
        prepared.prepare(pages, size, certify, shared=shared, timestamp_ns=time.time_ns())
        return {"messages": prepared.expected()}

    def _release(self, canister: str, start_ns: int, interval_ns: int) -> dict[str, int]:
        """All prepared pages at once, or one each ``interval_ns`` from ``start_ns`` of the monotonic clock on."""
        prepared = self.replica.canister(Principal.from_text(canister))
        pages = prepared.expected() // prepared.page_size
        if not interval_ns:
            prepared.release(pages)
            return {"pages": pages}
        for page in range(pages):
            self._at(start_ns + page * interval_ns, partial(prepared.release, page + 1))
        return {"pages": pages}

    def _speak(self, canister: str, count: int, size: int, start_ns: int, interval_ns: int) -> dict[str, int]:
        """Say ``count`` messages unasked, to the clients in turn, each at its time."""
        speaker = self.replica.canister(Principal.from_text(canister))
        listeners = list(speaker.clients)

        def say(number: int, due_ns: int) -> None:
            content = Tail(number, due_ns).content(size)
            speaker.send(listeners[number % len(listeners)], content, time.time_ns())
            self.replica.touch(speaker)

        for number in range(count):
            due_ns = start_ns + number * interval_ns
            self._at(due_ns, partial(say, number, due_ns))
        return {"messages": count}

    def _at(self, due_ns: int, act: Callable[[], None]) -> None:
        delay_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
        self._speakers.add(asyncio.get_running_loop().call_later(delay_s, act))


class _Http(asyncio.Protocol):
    """One connection: requests one after the other, as clients that pool connections send them."""

    def __init__(self, stub: StubIc) -> None:
        self._stub = stub
        self._data = bytearray()
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
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
        self._busy = True
        if request is None:
            self._answer(400, b"no HTTP/1.1 request")
            return
        try:
            self._stub.handle(request[2], body, self._answer)
        except (GatewayError, ValueError, TypeError, KeyError) as error:
            self._answer(400, str(error).encode())

    def _answer(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        kind = b"application/cbor" if status == 200 else b"text/plain"
        self._transport.write(_HEAD % (status, _REASONS[status], kind, len(body)) + body)
        self._busy = False
        if self._data:
            self._next()


def new_replica(seed: str | None, page_size: int) -> StubReplica:
    """A replica whose keys follow from the seed, or are random without one."""
    return StubReplica(
        seed=secrets.token_bytes(32) if seed is None else seed.encode().ljust(32, b"."), page_size=page_size
    )
