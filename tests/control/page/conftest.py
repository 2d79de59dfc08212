"""A browser for all tests of the page, in one loop with the gateways that it looks at."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests import chromium
from tests.control.page.browser import Tab, axe, forwarded, tab
from tests.control.plane import Plane, running
from tests.interop import node
from tests.needs import lacks

browser = chromium.browser
pytest_collection_modifyitems, pytest_generate_tests = chromium.in_one_loop(Path(__file__).parent)


@pytest.fixture(scope="session")
def audit_of_access() -> str:
    """The source of axe-core."""
    try:
        return axe()
    except node.Unavailable as problem:
        lacks(problem, "browser")


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
