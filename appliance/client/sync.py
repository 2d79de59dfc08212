"""The client for programs without an event loop: the same `connect`, to be used in a plain ``with``.

A thread runs the event loop while the block lasts. What is raised there is raised here; an interrupt (Ctrl-C) ends the
call that waits, and the block then closes the connection.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any, Generic, Self, Unpack, overload

from appliance.client.connecting import CanisterId, OptionsOfBytes, OptionsOfV0, OptionsOfValues, Url, V
from appliance.client.connecting import connect as connect_async
from appliance.client.connection import Connection as AsyncConnection
from appliance.client.connection import Message
from appliance.client.errors import NotOpen
from appliance.client.loop_thread import LoopThread
from appliance.client.reconnect import Change
from appliance.ic.principal import Principal

__all__ = ["Connection", "Events", "Message", "connect"]


class Connection(Generic[V]):
    """As `appliance.client.Connection`, for one thread or several: iterate over it, or `receive` and `send`."""

    def __init__(self, connection: AsyncConnection[V], loop: LoopThread) -> None:
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
    def unacknowledged(self) -> list[V]:
        """As `appliance.client.Connection.unacknowledged`."""
        return self._loop.run(self._unacknowledged())

    def send(self, value: V) -> None:
        """As `appliance.client.Connection.send`."""
        self._loop.run(self._connection.send(value))

    def receive(self, timeout: float | None = None) -> Message[V]:
        """The next message. Raises TimeoutError if none arrives for so many seconds (the session goes on), and what
        `appliance.client.Connection.receive` does."""
        return self._loop.run(self._receive(timeout))

    def events(self) -> Iterator[Message[V] | Change]:
        """As `appliance.client.Connection.events`."""
        return Events(self._connection.events(), self._loop)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message[V]:
        return self._loop.next(self._connection)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """As `appliance.client.Connection.close`."""
        with suppress(NotOpen):
            self._loop.run(self._connection.close(code, reason))

    async def _unacknowledged(self) -> list[V]:
        return self._connection.unacknowledged

    async def _receive(self, timeout: float | None) -> Message[V]:  # noqa: ASYNC109 - what the caller without a loop gave
        async with asyncio.timeout(timeout):
            return await self._connection.receive()


class Events(Generic[V]):
    """As `appliance.client.connection.Events`."""

    def __init__(self, events: AsyncIterator[Message[V] | Change], loop: LoopThread) -> None:
        self._events = events
        self._loop = loop

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message[V] | Change:
        return self._loop.next(self._events)


class connect(AbstractContextManager[Connection[V]], Generic[V]):  # noqa: N801 - used as a function
    """As `appliance.client.connect`, in a plain ``with``; `on_change` is called in another thread."""

    @overload
    def __init__(self, url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfV0]) -> None: ...

    @overload
    def __init__(
        self: "connect[bytes]", url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfBytes]
    ) -> None: ...

    @overload
    def __init__(self, url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfValues]) -> None: ...

    def __init__(self, url: Url, canister_id: CanisterId, **options: Any) -> None:
        self._opening: connect_async[V] = connect_async(url, canister_id, **options)

    def __enter__(self) -> Connection[V]:
        # Not before: a loop has descriptors, which nobody would close without the block.
        self._loop = LoopThread()
        self._loop.__enter__()
        try:
            return Connection(self._loop.run(self._opening.__aenter__()), self._loop)
        except BaseException:
            self._loop.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        """In a process that was forked in the block, this leaves the connection to the process that opened it."""
        if self._loop.is_foreign:
            return
        try:
            self._loop.run(self._opening.__aexit__())
        finally:
            self._loop.__exit__()
