"""One Chromium for all tests of a folder: what its conftest.py needs."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.needs import lacks

CHROMIUM = "ICWS_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Unavailable(Exception):
    """There is no browser; the text says what to do."""


def find() -> str:
    """The program. Raises Unavailable."""
    named = os.environ.get(CHROMIUM)
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise Unavailable(
            f"no Chromium is on the PATH; install it (apt-get install chromium), or name it in {CHROMIUM}"
        )
    return found


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """A browser without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    try:
        program = find()
    except Unavailable as problem:
        lacks(problem, "browser")
    async with launched(program) as found:
        yield found


def in_one_loop(folder: Path) -> tuple[Callable[[list[pytest.Item]], None], Callable[[pytest.Metafunc], None]]:
    """The two hooks by which all tests of a folder run in the loop that the browser was started in: for its tests, and
    for the parameters that they get. A folder that chooses among loops makes the loop a parameter; if that were one of
    the test alone, each test would start a browser of its own.
    """
    one_loop = pytest.mark.asyncio(loop_scope="session")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        for item in items:
            if item.path.parent == folder and pytest_asyncio.is_async_test(item):
                item.add_marker(one_loop, append=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
        if metafunc.definition.path.parent == folder and iscoroutinefunction(metafunc.function):
            metafunc.definition.add_marker(one_loop, append=False)

    return pytest_collection_modifyitems, pytest_generate_tests
