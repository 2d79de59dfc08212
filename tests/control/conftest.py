"""The sockets of the control plane are tested on every event loop that the service may use."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from appliance.control.health import loop_lag
from tests.control.plane import Plane, running
from tests.gateway.conftest import LOOPS

WITH_SOCKETS = {"test_server.py"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops where there are sockets, asyncio's own elsewhere."""
    return LOOPS if item.path.name in WITH_SOCKETS else {"asyncio": LOOPS["asyncio"]}


@pytest.fixture(autouse=True)
def _loop_may_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with too much to do, a loop that is late is no finding of a test."""
    monkeypatch.setattr(loop_lag, "MAX_LAG_S", 60.0)


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    """A gateway whose API is on a Unix socket."""
    async with running() as found:
        yield found


@pytest.fixture
async def tcp() -> AsyncIterator[Plane]:
    """A gateway whose API is on a port."""
    async with running(tcp=True) as found:
        yield found
