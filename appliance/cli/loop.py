"""The event loop, signals and ports of commands that serve."""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # there are no wheels for every platform
    from asyncio import new_event_loop


@contextmanager
def interrupts() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set instead of ending the process."""
    interrupted = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in _SIGNALS:
        running.add_signal_handler(number, interrupted.set)
    try:
        yield interrupted
    finally:
        for number in _SIGNALS:
            running.remove_signal_handler(number)


def run(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine as ``asyncio.run`` does, on uvloop if it is installed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def free_port(port: int) -> int:
    """Return the loopback port if it is free; otherwise print a notice and return 0, which means any free port."""
    with socket.socket() as probe:
        # Servers set it too: without it, connections in TIME_WAIT would make a port look taken after each restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            click.echo(f"port {port} is taken, using a free one", err=True)
            return 0
    return port
