"""``icws`` as a process."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def icws(*arguments: str, **streams: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours, killed if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "appliance.cli", *arguments),
        cwd=TOP,
        stdin=streams.get("stdin", asyncio.subprocess.DEVNULL),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def seen(stream: asyncio.StreamReader | None, word: str) -> str:
    """The lines up to the one with a word."""
    assert stream is not None
    lines = ""
    while word not in lines:
        line = (await stream.readline()).decode()
        assert line, f"ended without {word!r}: {lines}"
        lines += line
    return lines
