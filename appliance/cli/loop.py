"""Runs coroutines of commands on the fastest event loop that is installed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # there are no wheels for every platform
    from asyncio import new_event_loop


def run(main: Coroutine[object, object, T]) -> T:
    """As asyncio.run."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
