"""What the tests of the page do again and again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from playwright.async_api import Error, Route, expect

from appliance.client import Connection
from tests.control.page.browser import Tab
from tests.control.plane import Plane

LATER_MS = 20_000
"""For what the page is told by looking again."""


@asynccontextmanager
async def clients(plane: Plane, number: int) -> AsyncIterator[list[Connection]]:
    """Sessions that had one message each way."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(plane.connect()) for _ in range(number)]
        for each in found:
            await each.receive()  # the canister greets
            await talk(each)
        yield found


async def talk(client: Connection) -> None:
    """A message, and what is said to it."""
    await client.send({"text": "hello", "timestamp": time.time_ns()})
    await client.receive()


@asynccontextmanager
async def chatter(plane: Plane, number: int) -> AsyncIterator[None]:
    """Sessions that talk all the time."""

    async def go_on(client: Connection) -> None:
        while True:
            await talk(client)
            await asyncio.sleep(0.1)

    async with clients(plane, number) as talking:
        tasks = [asyncio.create_task(go_on(client)) for client in talking]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def edit(shown: Tab, old: str, new: str) -> None:
    """Change the text of the configuration in the editor."""
    text = shown.page.get_by_label("gateway.yaml")
    await expect(text).not_to_have_value("", timeout=LATER_MS)
    before = await text.input_value()
    assert old in before
    await text.fill(before.replace(old, new))


async def enter_token(shown: Tab, token: str) -> None:
    await shown.page.get_by_label("Token", exact=True).fill(token)
    await shown.page.keyboard.press("Enter")


@asynccontextmanager
async def held(shown: Tab, path: str) -> AsyncIterator["asyncio.Queue[Route]"]:
    """The page's requests for a path, which are answered when and as the test says, until the block is left."""
    routes: asyncio.Queue[Route] = asyncio.Queue()
    await shown.page.route(path, routes.put)
    try:
        yield routes
    finally:
        with contextlib.suppress(Error):  # of those that nobody took, or that the page has given up
            await shown.page.unroute(path)
            while not routes.empty():
                await routes.get_nowait().abort()


async def settled(shown: Tab) -> None:
    """Until the page has done what an answer that has come makes it do."""
    await shown.page.evaluate("async () => { await fetch('livez'); await new Promise((done) => setTimeout(done)); }")
