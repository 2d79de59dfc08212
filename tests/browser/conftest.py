"""One Chromium for all tests here, the built chat page, and a local network that serves it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests import chromium
from tests.browser.stage import Stage, built, staged
from tests.interop import node
from tests.needs import lacks

browser = chromium.browser
pytest_collection_modifyitems, pytest_generate_tests = chromium.in_one_loop(Path(__file__).parent)


@pytest.fixture(scope="session")
def web() -> Path:
    """The folder of the chat page, built."""
    try:
        return built()
    except node.Unavailable as problem:
        lacks(problem, "browser")


@pytest_asyncio.fixture(loop_scope="session")
async def stage(browser: Browser, web: Path) -> AsyncIterator[Stage]:
    """A chat on a local network, with a gateway that can be restarted, and tabs on its page."""
    async with staged(browser, web) as found:
        yield found
