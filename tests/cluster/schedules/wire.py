"""A wire between two processes, of which we hold the middle: it passes everything on, or does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from appliance import task_end

CHUNK = 64 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """Listens at a Unix socket, and connects each connection with one of ``connect``.

    ``cut``: connections end, and new ones end at once. ``hold``: they stay, and nothing passes any more, in either
    direction, until ``mend``. ``delay``: everything passes so much later, in seconds.
    """

    def __init__(self, path: Path, connect: Callable[[], Awaitable[Streams]]) -> None:
        self.path = path
        self.delay_s = 0.0
        self._connect = connect
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._joined: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen until the block is left."""
        server = await asyncio.start_unix_server(self._accept, str(self.path))
        try:
            yield
        finally:
            server.close()
            await self._end()

    async def cut(self) -> None:
        """End every connection."""
        self._is_cut = True
        await self._end()

    def hold(self) -> None:
        """Pass nothing on."""
        self._flows.clear()

    def mend(self) -> None:
        """Pass everything on, at once, and what was held first."""
        self.delay_s = 0.0
        self._is_cut = False
        self._flows.set()

    async def _end(self) -> None:
        for each in list(self._joined):
            await task_end.cancel(each)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._joined.add(task)
        try:
            if not self._is_cut:
                await self._join((reader, writer))
        except asyncio.CancelledError:
            pass  # of `_end`: the server would report it as an error
        finally:
            self._joined.discard(task)
            writer.transport.abort()

    async def _join(self, near: Streams) -> None:
        with suppress(OSError):
            await self._flows.wait()
            far = await self._connect()
            try:
                there = asyncio.create_task(self._pass_on(near[0], far[1]))
                back = asyncio.create_task(self._pass_on(far[0], near[1]))
                try:
                    await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await task_end.cancel(there)
                    await task_end.cancel(back)
            finally:
                far[1].transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()


def to_unix(path: Path) -> Callable[[], Awaitable[Streams]]:
    """Connections to a Unix socket."""
    return lambda: asyncio.open_unix_connection(str(path))
