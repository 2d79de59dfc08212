"""A server on loopback that sends the bytes of a test, well formed or not, and then waits, closes or resets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@asynccontextmanager
async def raw_server(serve: Serve) -> AsyncIterator[str]:
    """Serve each connection so; yields the URL. A connection is reset at the end, whatever it does then."""
    open_ones: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            open_ones.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones)


async def request(reader: asyncio.StreamReader) -> None:
    """Read a request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0]) if lengths else 0)


def sends(data: bytes, *, then: str = "closes") -> Serve:
    """Answer each connection's first request with these bytes, and then: closes, resets or waits."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(data)
        await writer.drain()
        if then == "waits":
            await asyncio.Event().wait()
        elif then == "closes":
            writer.close()
            await writer.wait_closed()

    return serve


def drips(start: bytes, again: bytes, *, pause_s: float = 0.0) -> Serve:
    """Answer with a start, and then with the same bytes again and again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(start)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return serve


async def never_reads(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """A half-open connection: accepted, and nobody is there."""
    await asyncio.Event().wait()
