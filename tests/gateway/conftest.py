"""Tests with real sockets run on every event loop that the service may use."""

import asyncio
from collections.abc import Callable

import pytest

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop

WITH_SOCKETS = {"test_connection.py", "test_listener.py", "test_localnet.py"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops where there are sockets, asyncio's own elsewhere."""
    return LOOPS if item.path.name in WITH_SOCKETS else {"asyncio": LOOPS["asyncio"]}
