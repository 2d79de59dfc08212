"""The flooder of ``benchmarks.flood``: one address, and a few connections that are opened anew whenever one ends."""

import asyncio
import base64
import contextlib
import json
import ssl
import sys
from collections import Counter

from appliance import task_end
from appliance.bench.target import unverified

ADDRESS = "127.0.0.2"
PIECE = 64 * 1024
"""Bytes of one write of a flood."""
CONNECTIONS = 4
SILENT = 5000
"""Sockets of the floods that do nothing."""
RECORDS = 500
"""Records of one byte that are written at a time."""

_MASK = bytes(4)
UPGRADE = (
    "GET /v2 HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
).encode()


def frame(first: int, payload: bytes = b"") -> bytes:
    """A frame of a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        return bytes([first, 0x80 | size]) + _MASK + payload
    return bytes([first, 0xFF]) + size.to_bytes(8, "big") + _MASK + payload


FLOODS = {
    "pings": frame(0x89) * (PIECE // 6),
    "pongs": frame(0x8A) * (PIECE // 6),
    "fragments": frame(0x02) + frame(0x00) * (PIECE // 6),
    "tiny": frame(0x82, b"x") * (PIECE // 7),
    "large": frame(0x02, bytes(2 << 20)),
}
"""What is sent again and again behind an upgrade, by kind."""
KINDS = (*FLOODS, "connects", "half-upgrades", "silent")
TLS_KINDS = ("half-hellos", "hellos", "records")
"""Kinds that are for TLS alone: half of a first message, and no more; a whole one, which the gateway answers by a
signature, again and again; and pings in records of one byte each."""
_HELD = ("silent", "half-hellos")
"""Kinds that do nothing more, on ``SILENT`` sockets."""


def client_hello() -> bytes:
    """The first message of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        unverified().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first byte of a frame of the gateway, and its payload."""
    first, size = await reader.readexactly(2)
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first, await reader.readexactly(size)


class Flooder:
    """Floods one port until its standard input ends, and then writes how its connections ended."""

    def __init__(self, port: int, kind: str, *, with_tls: bool) -> None:
        self.port = port
        self.kind = kind
        # Those that do not get as far as a session of TLS write its bytes themselves.
        self.tls = unverified() if with_tls and kind not in ("silent", "half-hellos", "hellos") else None
        self.hello = client_hello()
        self.ends: Counter[str] = Counter()

    async def run(self) -> None:
        """Until standard input ends."""
        sockets = SILENT if self.kind in _HELD else CONNECTIONS
        flooding = [asyncio.ensure_future(self.flood()) for _ in range(sockets)]
        await asyncio.to_thread(sys.stdin.read)
        for one in flooding:
            one.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        print(json.dumps(self.ends), flush=True)

    async def flood(self) -> None:
        """One connection after the other."""
        while True:
            try:
                await self._connection()
            except OSError:  # also of a handshake that the gateway resets
                self.ends["reset"] += 1
            if self.kind in _HELD:
                await asyncio.sleep(1)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESS, 0), ssl=self.tls)
        try:
            self.ends[await self._use(reader, writer)] += 1
        except asyncio.IncompleteReadError:
            self.ends["reset"] += 1
        finally:
            writer.transport.abort() if self.tls else writer.close()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        if self.kind == "half-hellos":
            writer.write(self.hello[: len(self.hello) // 2])
        if self.kind in _HELD:
            return "reset" if not await reader.read() else "answered"
        if self.kind == "hellos":
            writer.write(self.hello)
            return "answered" if await reader.read(1) else "reset"
        if self.kind == "half-upgrades":
            writer.write(UPGRADE[:-2])
            await asyncio.sleep(0)
            return "left"
        writer.write(UPGRADE)
        status = (await reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1].decode()
        if status != "101" or self.kind == "connects":
            return f"HTTP {status}"
        sending = asyncio.ensure_future(self._send(writer))
        try:
            return await _close_code(reader)
        finally:
            with contextlib.suppress(OSError):
                await task_end.cancel(sending)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            if self.kind == "records":
                for byte in frame(0x89) * (RECORDS // 6):
                    writer.write(bytes([byte]))
            else:
                writer.write(FLOODS[self.kind])
            await writer.drain()
            await asyncio.sleep(0)  # it waits for nothing while there is room, and what is answered must be read too


async def _close_code(reader: asyncio.StreamReader) -> str:
    """Read frames until the close frame; returns its code."""
    while True:
        first, payload = await read_frame(reader)
        if first == 0x88:
            return f"close {int.from_bytes(payload[:2], 'big')}"
