"""A browser for all tests of the page, in one loop with the gateways that it looks at."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Never

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.control.page.browser import Tab, Unavailable, axe, find, forwarded, launched, tab
from tests.control.plane import Plane, running
from tests.interop import node

REQUIRE = "ICWS_REQUIRE_BROWSER"
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run in the loop that the browser was started in."""
    for item in items:
        if item.path.parent == HERE and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def missing(problem: Exception) -> Never:
    """Skip the test, or fail it where ICWS_REQUIRE_BROWSER is 1, as in CI."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{problem} ({REQUIRE} is 1)")
    pytest.skip(str(problem))


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    try:
        program = find()
    except Unavailable as problem:
        missing(problem)
    async with launched(program) as found:
        yield found


@pytest.fixture(scope="session")
def audit_of_access() -> str:
    """The source of axe-core."""
    try:
        return axe()
    except node.Unavailable as problem:
        missing(problem)


@pytest_asyncio.fixture(loop_scope="session")
async def plane() -> AsyncIterator[Plane]:
    """A gateway whose control plane is on a Unix socket."""
    async with running() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def tcp() -> AsyncIterator[Plane]:
    """A gateway whose control plane is on a port."""
    async with running(tcp=True) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def url(plane: Plane) -> AsyncIterator[str]:
    """Where a browser finds the page of the one on a Unix socket."""
    async with forwarded(plane.control.url.removeprefix("unix:")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def desk(browser: Browser, url: str) -> AsyncIterator[Tab]:
    """A tab at a desk, with the page in it."""
    async with tab(browser, url) as found:
        yield found
