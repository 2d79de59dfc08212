"""The client for programs without an event loop: the same `connect`, to be used in a plain ``with``.

A thread runs the event loop while the block lasts. What is raised there is raised here; an interrupt (Ctrl-C) ends the
call that waits, and the block then closes the connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, Self

from appliance.client.connecting import connect as connect_async
from appliance.client.connection import Connection as AsyncConnection
from appliance.client.connection import Message
from appliance.client.errors import NotOpen
from appliance.client.loop_thread import LoopThread
from appliance.client.reconnect import Change
from appliance.ic.principal import Principal

P = ParamSpec("P")


class Connection:
    """As `appliance.client.Connection`, for one thread or several: iterate over it, or `receive` and `send`."""

    def __init__(self, connection: AsyncConnection, loop: LoopThread) -> None:
        self._connection = connection
        self._loop = loop

    @property
    def gateway(self) -> str:
        """As `appliance.client.Connection.gateway`."""
        return self._connection.gateway

    @property
    def principal(self) -> Principal:
        """As `appliance.client.Connection.principal`."""
        return self._connection.principal

    @property
    def unacknowledged(self) -> list[Any]:
        """As `appliance.client.Connection.unacknowledged`."""
        return self._loop.run(self._unacknowledged())

    def send(self, value: Any) -> None:
        """As `appliance.client.Connection.send`."""
        self._loop.run(self._connection.send(value))

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises TimeoutError if none arrives for so many seconds (the session goes on), and what
        `appliance.client.Connection.receive` does."""
        return self._loop.run(self._receive(timeout))

    def events(self) -> Iterator[Message | Change]:
        """As `appliance.client.Connection.events`."""
        return Events(self._connection.events(), self._loop)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        return self._loop.next(self._connection)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """As `appliance.client.Connection.close`."""
        with suppress(NotOpen):
            self._loop.run(self._connection.close(code, reason))

    async def _unacknowledged(self) -> list[Any]:
        return self._connection.unacknowledged

    async def _receive(self, timeout: float | None) -> Message:  # noqa: ASYNC109 - what the caller without a loop gave
        async with asyncio.timeout(timeout):
            return await self._connection.receive()


class Events:
    """As `appliance.client.connection.Events`."""

    def __init__(self, events: AsyncIterator[Message | Change], loop: LoopThread) -> None:
        self._events = events
        self._loop = loop

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message | Change:
        return self._loop.next(self._events)


def _in_a_thread(
    connecting: Callable[P, AbstractAsyncContextManager[AsyncConnection]],
) -> Callable[P, AbstractContextManager[Connection]]:
    @contextmanager
    @wraps(connecting)
    def connect(*args: P.args, **kwargs: P.kwargs) -> Iterator[Connection]:
        with LoopThread() as loop:
            opening = connecting(*args, **kwargs)
            connection = loop.run(_entered(opening))
            try:
                yield Connection(connection, loop)
            finally:
                loop.run(_left(opening))

    return connect


async def _entered(opening: AbstractAsyncContextManager[AsyncConnection]) -> AsyncConnection:
    return await opening.__aenter__()


async def _left(opening: AbstractAsyncContextManager[AsyncConnection]) -> None:
    await opening.__aexit__(None, None, None)


connect = _in_a_thread(connect_async)
"""As `appliance.client.connect`; the context is a plain one, and `on_change` is called in another thread."""
