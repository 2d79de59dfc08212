"""The programs that stand around a gateway in production."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.control.plane import Plane, running
from tests.needs import program


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a program by its name. Where it is not installed the test is skipped, or fails where the environment
    variable ICWS_REQUIRE_DEPLOY is 1, as in CI."""

    def find(name: str) -> str:
        return program(name, "deploy")

    return find


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    """A gateway that answers health checks at the address of clients, and serves metrics at one of their own."""
    edits = {
        'listen: "127.0.0.1:0"}': 'listen: "127.0.0.1:0", health: true, trusted_proxies: [127.0.0.1]}',
        "control:\n": "metrics: {listen: 127.0.0.1:0}\ncontrol:\n",
    }

    def edit(text: str) -> str:
        for old, new in edits.items():
            assert old in text
            text = text.replace(old, new)
        return text

    async with running(edit=edit) as plane:
        async with asyncio.timeout(60):
            # Its loop may have been slow while it started.
            while (await plane.control.health.ready()).status != "ok":  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.1)
        yield plane
