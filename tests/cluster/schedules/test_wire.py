import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cluster.schedules.wire import Streams, Wire, to_unix


@asynccontextmanager
async def wired(folder: Path) -> AsyncIterator[Wire]:
    """A wire to a server that says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_unix_server(echo, str(folder / "far.sock")):
        wire = Wire(folder / "near.sock", to_unix(folder / "far.sock"))
        async with wire.serving():
            yield wire


async def says(streams: Streams, text: bytes) -> None:
    reader, writer = streams
    writer.write(text)
    assert await reader.readexactly(len(text)) == text


async def test_everything_passes_until_the_wire_is_cut_and_again_once_it_is_mended(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        before = await asyncio.open_unix_connection(str(wire.path))
        await says(before, b"hello")
        await wire.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await says(before, b"are you there")
        meanwhile = await asyncio.open_unix_connection(str(wire.path))
        assert await meanwhile[0].read() == b""
        wire.mend()
        after = await asyncio.open_unix_connection(str(wire.path))
        await says(after, b"hello")
        for each in (before, meanwhile, after):
            each[1].close()


async def test_what_is_held_arrives_in_order_once_the_wire_is_mended(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        before = await asyncio.open_unix_connection(str(wire.path))
        await says(before, b"hello")
        wire.hold()
        meanwhile = await asyncio.open_unix_connection(str(wire.path))
        for reader, writer in (before, meanwhile):
            writer.write(b"one")
            writer.write(b"two")
            await writer.drain()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.read(1)
        wire.mend()
        for reader, writer in (before, meanwhile):
            assert await reader.readexactly(6) == b"onetwo"
            writer.close()


async def test_a_slow_wire_passes_everything(tmp_path: Path) -> None:
    async with wired(tmp_path) as wire:
        wire.delay_s = 0.01
        streams = await asyncio.open_unix_connection(str(wire.path))
        await says(streams, b"hello")
        streams[1].close()
