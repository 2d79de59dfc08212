"""Laws of ``outbound/tunnels.py``, with sockets on this machine."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.outbound import tunnels as module
from appliance.outbound.tunnels import MAX_HEAD, Tunnels
from tests.gateway.bench import until
from tests.ic.raw_server import Serve, raw_server

LARGE = 8 * 1024**2


@dataclass
class Some:
    """Destinations."""

    targets: set[str] = field(default_factory=set)
    file: str = "gateway.yaml"

    async def allow(self, target: str) -> bool:
        return target in self.targets


@dataclass
class Way:
    """Tunnels at a socket, and what lies behind."""

    path: Path
    tunnels: Tunnels
    target: str

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    async def through(self, rest: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.open()
        writer.write(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % self.target.encode() + rest)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
        return reader, writer

    async def asked(self, request: bytes) -> str:
        """The first line of the answer, with which the connection ends."""
        reader, writer = await self.open()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer.split(b"\r\n")[0].decode()


@asynccontextmanager
async def way(folder: Path, serve: Serve) -> AsyncIterator[Way]:
    async with raw_server(serve) as url, listening(folder, url.removeprefix("http://")) as found:
        yield found


@asynccontextmanager
async def listening(folder: Path, target: str) -> AsyncIterator[Way]:
    path = folder / "outbound.sock"
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    async with Tunnels(Some({target})) as tunnels:
        await tunnels.serve(bound)
        yield Way(path, tunnels, target)
    assert not tunnels.ends


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"end")
    writer.write_eof()
    await reader.read()


async def test_bytes_pass_in_both_directions_until_both_have_ended(tmp_path: Path) -> None:
    async with way(tmp_path, echoes) as it:
        reader, writer = await it.through(b"sent at once, ")
        writer.write(b"and later")
        writer.write_eof()
        assert await reader.read() == b"sent at once, and laterend"
        writer.close()
        await until(lambda: not it.tunnels.ends)


async def test_who_reads_slowly_holds_up_the_other_and_nothing_is_lost(tmp_path: Path) -> None:
    async with way(tmp_path, echoes) as it:
        reader, writer = await it.through()
        sending = asyncio.ensure_future(send(writer))
        # Nothing is read until nothing more can be sent: what waits here is bounded.
        await until(lambda: any(not end.transport.is_reading() for end in it.tunnels.ends))
        assert sum(end.transport.get_write_buffer_size() for end in it.tunnels.ends) < LARGE / 4
        assert await reader.read() == bytes(LARGE) + b"end"
        await sending
        writer.close()


async def send(writer: asyncio.StreamWriter) -> None:
    for _ in range(LARGE // 65536):
        writer.write(bytes(65536))
        await writer.drain()
    writer.write_eof()


async def test_an_end_that_breaks_takes_the_other_with_it(tmp_path: Path) -> None:
    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)

    async with way(tmp_path, leaves) as it:
        reader, writer = await it.through(b"x")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: not it.tunnels.ends)
        it.path.unlink()
    async with way(tmp_path, echoes) as it:
        _, writer = await it.through()
        writer.transport.abort()
        await until(lambda: not it.tunnels.ends)


async def test_what_is_no_endpoint_is_refused_by_its_name(tmp_path: Path) -> None:
    async with way(tmp_path, echoes) as it:
        for target in ("other.example:443", f"{it.target}0", "127.0.0.1:22"):
            line = await it.asked(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            assert line == f"HTTP/1.1 403 {target} is no endpoint in network.url of gateway.yaml"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT x HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT x:y HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT x:443 HTTP/1.0\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"x" * (MAX_HEAD + 1), 431),
        (b"CONNECT \xff:1 HTTP/1.1\r\n\r\n", 403),
    ],
)
async def test_what_is_no_request_for_a_tunnel_is_refused(tmp_path: Path, request_: bytes, status: int) -> None:
    async with listening(tmp_path, "127.0.0.1:1") as it:
        assert (await it.asked(request_)).startswith(f"HTTP/1.1 {status} ")


async def test_an_endpoint_that_is_down_is_told(tmp_path: Path, unused_tcp_port: int) -> None:
    async with listening(tmp_path, f"127.0.0.1:{unused_tcp_port}") as it:
        line = await it.asked(f"CONNECT {it.target} HTTP/1.1\r\n\r\n".encode())
        assert line.startswith(f"HTTP/1.1 502 no connection to {it.target}: ")


async def test_an_endpoint_that_does_not_answer_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is full: the kernel drops what would begin a connection."""
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as filling:
        filling.connect(full.getsockname())
        async with listening(tmp_path, f"127.0.0.1:{full.getsockname()[1]}") as it:
            line = await it.asked(f"CONNECT {it.target} HTTP/1.1\r\n\r\n".encode())
            assert line == f"HTTP/1.1 504 no connection to {it.target} within 0.2 s"


async def test_who_sends_no_request_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 0.1)
    async with listening(tmp_path, "127.0.0.1:1") as it:
        assert await it.asked(b"CONNECT ") == "HTTP/1.1 408 no request within 0.1 s"
        await until(lambda: not it.tunnels.ends)


async def test_the_end_of_the_process_ends_tunnels(tmp_path: Path) -> None:
    async with way(tmp_path, echoes) as it:
        reader, writer = await it.through()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
