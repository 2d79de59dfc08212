"""``icws`` as a process."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.localnet.net import Localnet

TOP = Path(__file__).resolve().parents[2]
WORDS = "Gateway Agent principal: "


@asynccontextmanager
async def icws(*arguments: str, **streams: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours, killed if it is connected at the end."""
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


@asynccontextmanager
async def running(
    folder: Path, net: Localnet, canister: object
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """``icws run`` in front of a local IC, and its URL."""
    file = folder / "gateway.yaml"
    file.write_text(
        f"gateway: {{listen: '127.0.0.1:0'}}\nnetwork: {{url: '{net.url}', root_key: fetch}}\n"
        f"canisters: [{{id: {canister}}}]\n"
    )
    async with icws("run", "--config", str(file)) as process:
        lines = await seen(process.stderr, WORDS)
        url = re.search(r"url=(ws://\S+)", lines)
        assert url is not None
        yield process, url[1]
