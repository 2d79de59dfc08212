"""A tab of a real Chromium, and what is looked at in it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, ConsoleMessage, Page

from tests.interop import node

ROOT = Path(__file__).resolve().parents[3]
SHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "tests" / "control" / "axe"
SIZES = {"desk": (1280, 900), "phone": (390, 844)}

Scheme = Literal["light", "dark"]


def axe() -> str:
    """The source of axe-core. Raises node.Unavailable."""
    return (node.prepared(AXE) / "node_modules/axe-core/axe.min.js").read_text()


@dataclass
class Tab:
    """A tab that looks at a page. ``complaints`` has what the browser found wrong with it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    async def show(self, view: str) -> None:
        """Follow a link to a view, as far as its heading."""
        await self.page.evaluate("view => { location.hash = view; }", view)
        await self.page.locator(f"#{view.partition('?')[0].partition('/')[0]}").wait_for()

    async def shot(self, name: str) -> None:
        """Keep a picture of all of it, where the environment variable ICWS_SHOTS is 1, under a name that has the tab's
        size and colours. Nothing is tested with it, and it takes the browser longer than most of what is.
        """
        if os.environ.get("ICWS_SHOTS") != "1":
            return
        SHOTS.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size or {"width": 0}
        is_dark = await self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        path = SHOTS / f"{name}-{size['width']}-{'dark' if is_dark else 'light'}.png"
        await self.page.screenshot(path=path, full_page=True, animations="disabled")

    async def focused(self) -> Any:
        """What has the focus: its id, else its text."""
        return await self.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


@asynccontextmanager
async def tab(
    browser: Browser, url: str, *, size: str = "desk", scheme: Scheme = "light", path: str = ""
) -> AsyncIterator[Tab]:
    """A fresh profile with one tab. In the end it must have had nothing to complain about but requests that the API
    refused, which the tests look at themselves.
    """
    width, height = SIZES[size]
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", locale="en-GB"
    )
    try:
        opened = Tab(await context.new_page(), url)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
                opened.complaints.append(message.text)

        opened.page.on("console", on_console)
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        await opened.page.goto(url + path)
        yield opened
    finally:
        await context.close()
    assert not opened.complaints


@asynccontextmanager
async def forwarded(unix: str) -> AsyncIterator[str]:
    """The URL of a port of this machine that leads to a Unix socket, as ``ssh -L`` makes one."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _join(reader, writer, unix)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unix: str) -> None:
    """Pass everything on, both ways, until either end has no more to say."""
    inner = None
    try:
        inner_reader, inner = await asyncio.open_unix_connection(unix)
        pumps = [asyncio.create_task(_pump(reader, inner)), asyncio.create_task(_pump(inner_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
    except OSError:
        pass  # nobody is there any more
    finally:
        for each in (writer, inner):
            if each is not None:
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
