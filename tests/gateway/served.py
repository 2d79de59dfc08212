"""A gateway on loopback sockets, with the fake IC behind it."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect

from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER, GATEWAY, Client, greeting
from tests.gateway.fake_ic import ROOT, FakeCanister, FakeIc


class Served:
    def __init__(self, gateway: Gateway, listener: Listener, ic: FakeIc, canister: FakeCanister) -> None:
        self.gateway = gateway
        self.listener = listener
        self.ic = ic
        self.canister = canister
        self.counters = gateway.counters

    @asynccontextmanager
    async def websocket(self, path: str = "/", **options: object) -> AsyncIterator[ClientConnection]:
        """A WebSocket that got the greeting."""
        async with connect(self.listener.url + path, compression=None, **options) as socket:
            assert await socket.recv() == greeting()
            yield socket

    @asynccontextmanager
    async def session(
        self, client: Client | None = None, **options: object
    ) -> AsyncIterator[tuple[Client, ClientConnection]]:
        """A client whose session is open."""
        client = client or Client()
        async with self.websocket(**options) as socket:
            await socket.send(client.open())
            await socket.recv()
            yield client, socket

    async def raw(self) -> "Raw":
        return await self.raw_at(self.listener.port)

    async def raw_at(self, port: int | None) -> "Raw":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return Raw(reader, writer)

    async def upgraded(self) -> "Raw":
        """A raw socket behind the upgrade and the greeting."""
        raw = await self.raw()
        status, _, _ = await raw.request("/")
        assert status == 101
        assert await raw.frame() == (0x82, greeting())
        return raw

    async def nobody(self) -> None:
        """Wait until every socket is gone, and see that nothing is left of them."""
        await until(lambda: not len(self.listener) and not self.gateway.pending_close_calls)
        assert len(self.gateway.hub) == 0
        await until(lambda: not len(self.gateway.tasks))


class Raw:
    """A client that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(
        self, path: str, *, method: str = "GET", upgrade: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: gateway"]
        if upgrade:
            key = base64.b64encode(os.urandom(16)).decode()
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Extensions: permessage-deflate"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
        body = b"" if head[0].split()[1] == "101" else await self.reader.read()
        return int(head[0].split()[1]), headers, body

    def send(self, first: int, payload: bytes = b"", *, claim: int | None = None) -> None:
        """A masked frame with this first byte; ``claim`` is the length it pretends to have."""
        size = len(payload) if claim is None else claim
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = b"\xfe" + size.to_bytes(2, "big")
        else:
            length = b"\xff" + size.to_bytes(8, "big")
        mask = b"\x01\x02\x03\x04"
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.writer.write(bytes([first]) + length + mask + masked)

    async def frame(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly({126: 2, 127: 8}[size]), "big")
        return first, await self.reader.readexactly(size)

    async def close_frame(self) -> tuple[int, str]:
        """The close frame, after it the end of the stream."""
        first, payload = await self.frame()
        assert first == 0x88
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def end(self) -> None:
        """The server ends the stream; we do the same."""
        assert await self.reader.read() == b""
        self.close()

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def served(**sections: object) -> AsyncIterator[Served]:
    """A gateway on a free port. Checks at the end that nothing is left, no task either."""
    gateway_section = {"listen": "127.0.0.1:0", "close_timeout": "30s", **sections.pop("gateway", {})}
    config = Config.model_validate({"canisters": [{"id": str(CANISTER)}], "gateway": gateway_section, **sections})
    canister = FakeCanister(CANISTER, GATEWAY)
    ic = FakeIc(canister)
    gateway = Gateway(config, ic=ic, verifier=Verifier(ROOT.public_key), principal=GATEWAY)
    async with gateway, Listener(gateway) as listener:
        yield Served(gateway, listener, ic, canister)
    assert len(listener) == len(gateway.hub) == len(gateway.tasks) == gateway.pending_close_calls == 0
    assert not gateway.pollers
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
