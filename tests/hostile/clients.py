"""Clients that make a gateway keep as much as they can, each in its own way, from any address of the loopback net."""

import asyncio
import base64
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from appliance.bench.result import Load
from appliance.bench.scenarios import echo
from appliance.bench.target import BenchFailed
from appliance.bench.testbed import Testbed, canister
from appliance.bench.wire import LoadIdentity, message_frame, opening_frame

COMES_BACK = 120
"""How often an ordinary client tries to get in, a second apart."""
HOLD_S = 12.0
"""How long a client holds what it has, unless it is closed before."""
LARGE = 1 << 20
CANISTER = canister(1)
"""Not that of ordinary clients: once they have their echoes, it would echo large messages too, in replies beyond all
limits of the IC."""
_MASK = bytes(4)
_UPGRADE = (
    "GET /v2 HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
).encode()
_numbers = itertools.count(1)


def frame(first: int, payload: bytes = b"", *, claim: int | None = None) -> bytes:
    """A frame with this first byte; ``claim`` is the length that it pretends to have."""
    size = len(payload) if claim is None else claim
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + length + _MASK + payload


class Refused(Exception):
    """The upgrade was answered with another status."""


@dataclass
class Hostile:
    """A connection of a hostile client. Its ways of holding memory are in ``WAYS``."""

    testbed: Testbed
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def half_a_request(self) -> None:
        """A request whose headers do not end."""
        await self._send(_UPGRADE[:-2] + b"X-More: " + bytes([0x61]) * 60_000)

    async def half_an_opening(self) -> None:
        """A fragment as large as an opening message may be."""
        await self._upgrade()
        await self._send(frame(0x02, bytes(63_000)))

    async def half_a_message(self) -> None:
        """All but the last byte of the largest message."""
        await self._open()
        await self._send(frame(0x82, bytes((2 << 20) - 1), claim=2 << 20))

    async def fragments(self) -> None:
        """The largest message in small fragments, of which the last does not come."""
        await self._open()
        await self._send(frame(0x02) + frame(0x00, bytes(16 << 10)) * 120)

    async def messages(self) -> None:
        """As many large messages as are taken, for a canister that takes its time."""
        client = await self._open()
        for number in range(1, 24):
            await self._send(message_frame(client, CANISTER, number, bytes(LARGE), time.time_ns()))

    async def pings(self) -> None:
        """Pings whose answers are not read."""
        await self._open()
        for _ in range(30):
            await self._send(frame(0x89, bytes(125)) * 100)

    async def _upgrade(self) -> None:
        await self._send(_UPGRADE)
        status = (await self.reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1].decode()
        if status != "101":
            raise Refused(status)

    async def _open(self) -> LoadIdentity:
        await self._upgrade()
        client = LoadIdentity(self.testbed.client_seed(), next(_numbers))
        principal = self.testbed.target.principal
        await self._send(opening_frame(client, CANISTER, principal, time.time_ns()))
        for _ in range(2):  # the greeting, and the canister's opening message
            await self._frame()
        return client

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly({126: 2, 127: 8}[size]), "big")
        return first, await self.reader.readexactly(size)

    async def end(self) -> str:
        """Read to the end; returns how it came."""
        while True:
            first, payload = await self._frame()
            if first == 0x88:
                return f"close {int.from_bytes(payload[:2], 'big')}"


WAYS: dict[str, Callable[[Hostile], Awaitable[object]]] = {
    way.__name__: way
    for way in (
        Hostile.half_a_request,
        Hostile.half_an_opening,
        Hostile.half_a_message,
        Hostile.fragments,
        Hostile.messages,
        Hostile.pings,
    )
}


@dataclass
class Attack:
    """Clients of some addresses, each of which comes back when it was closed. ``ends`` counts how they ended."""

    testbed: Testbed
    addresses: list[str]
    clients: int
    ends: Counter[str] = field(default_factory=Counter)

    async def run(self, rounds: int) -> None:
        """Let every client come so many times."""
        ways = itertools.cycle(WAYS.values())
        addresses = itertools.cycle(self.addresses)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.clients):
                group.create_task(self._client(next(ways), next(addresses), rounds))

    async def _client(self, way: Callable[[Hostile], Awaitable[object]], address: str, rounds: int) -> None:
        for _ in range(rounds):
            self.ends[await self._round(way, address)] += 1

    async def _round(self, way: Callable[[Hostile], Awaitable[object]], address: str) -> str:
        port = int(self.testbed.target.url.rpartition(":")[2])
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        except OSError:
            return "refused"
        try:
            async with asyncio.timeout(HOLD_S):
                hostile = Hostile(self.testbed, reader, writer)
                await way(hostile)
                return await hostile.end()
        except TimeoutError:
            return "held"
        except Refused as status:
            await asyncio.sleep(0.2)
            return f"HTTP {status}"
        except (OSError, asyncio.IncompleteReadError):
            return "reset"
        finally:
            with contextlib.suppress(OSError):
                writer.transport.abort()


async def is_served(testbed: Testbed) -> bool:
    """Whether ordinary clients get in and get their answers.

    They come back where they are told to (503): calls of hostile clients that have gone are held until they are done.
    """
    for _ in range(COMES_BACK):
        try:
            result = await echo(testbed, Load(clients=4, rate=20, seconds=1, size=200, patience_s=300))
        except BenchFailed as failed:
            if "503" not in str(failed):
                raise
            await asyncio.sleep(1)
        else:
            return result.done == result.offered and not result.lost
    return False
