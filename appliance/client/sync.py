"""The client for programs without an event loop: the same `connect`, to be used in a plain ``with``.

A thread runs the event loop while the block lasts. What is raised there is raised here; an interrupt (Ctrl-C) ends the
call that waits, and the block then closes the connection.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar

from appliance.client.connecting import connect as connect_async
from appliance.client.connection import Connection as AsyncConnection
from appliance.client.connection import Message
from appliance.client.errors import NotOpen
from appliance.client.session import State
from appliance.ic.principal import Principal

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class Connection:
    """As `appliance.client.Connection`, for one thread or several: iterate over it, or `receive` and `send`."""

    def __init__(self, connection: AsyncConnection, loop: "LoopThread") -> None:
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
        """The next message. Raises TimeoutError where none comes for so many seconds (the session goes on), and what
        `appliance.client.Connection.receive` does."""
        return self._loop.run(self._receive(timeout))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        message = self._loop.run(self._next())
        if not isinstance(message, Message):
            raise StopIteration
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """As `appliance.client.Connection.close`."""
        with suppress(NotOpen):
            self._loop.run(self._connection.close(code, reason))

    async def _unacknowledged(self) -> list[Any]:
        return self._connection.unacknowledged

    async def _receive(self, timeout: float | None) -> Message:  # noqa: ASYNC109 - what the caller without a loop gave
        async with asyncio.timeout(timeout):
            return await self._connection.receive()

    async def _next(self) -> object:
        return await anext(self._connection, _END)


class LoopThread:
    """An event loop in a thread of its own; leaving the context ends both, and whatever still runs there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._serves = True
        self._turn = threading.Lock()  # of whoever gives the loop work, or ends it
        self._thread = threading.Thread(target=self._serve, name="icws-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._serves = False
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it. An exception here, such as KeyboardInterrupt, cancels it.

        Raises NotOpen once the context is left, and RuntimeError in that thread itself, which would wait for itself for
        ever.
        """
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("on_change must not use the connection: it is called in the thread that serves it")
        with self._turn:
            if self._serves:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise NotOpen(State.CLOSED.value)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()
        # the Runner has cancelled what was left, and closed the loop


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
