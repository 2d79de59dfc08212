"""Programs run for the time of a test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
GIVE_UP_S = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def started(*command: str | Path) -> AsyncIterator[None]:
    """Runs while the block does."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    reading = asyncio.create_task(process.stderr.read())
    try:
        yield
        assert process.returncode is None, (await reading).decode()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def output(*command: str | Path) -> tuple[int, str]:
    """The exit code of a program that ends by itself, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask until it holds: nothing tells when another program has got so far."""
    async with asyncio.timeout(GIVE_UP_S):
        while not await condition():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(0.05)
