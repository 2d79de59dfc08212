"""Exchanges on the native IC client, as futures of an event loop."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from appliance._native import HttpClient, HttpEndpoint
from appliance.crypto import Poll, PollAnswer
from appliance.errors import IcUnreachable

__all__ = ["CONNECT_TIMEOUT_S", "Exchanges", "HttpEndpoint", "HttpResponse", "Read"]

T = TypeVar("T")
HttpResponse: TypeAlias = tuple[int, dict[str, str], bytes, PollAnswer | None]
"""Status; Content-Type, Location and Retry-After as far as they were sent; body; and what was read of it (`Poll`)."""
Read: TypeAlias = Callable[[int, dict[str, str], bytes, PollAnswer | None], T]
"""Makes of a response what its request waits for, or raises."""

CONNECT_TIMEOUT_S = 5.0
"""For a new connection, with the name, the proxy and TLS."""
CLOSE_DEADLINE_S = 1.0


class Exchanges:
    """A native client for the running event loop, and the exchanges that wait for it.

    Its thread never attaches to Python, for it would wait for the interpreter's lock at each response. It makes a
    descriptor readable, once for all responses that have arrived since.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._client = HttpClient(CONNECT_TIMEOUT_S)
        self._waiting: dict[int, _Exchange[Any]] = {}
        self._loop.add_reader(self._client.fileno(), self._resolve)

    def run(
        self,
        endpoint: HttpEndpoint,
        path: str,
        body: bytes | Poll | None,
        read: Read[T],
        *,
        max_reply: int,
        timeout_s: float,
    ) -> "asyncio.Future[T]":
        """Send a request (POST with a body, GET without), and return the future of what ``read`` makes of the response.

        The future raises IcUnreachable, ReplyTooLarge beyond ``max_reply`` bytes, and what ``read`` raises; cancelling
        it ends the exchange. Raises RuntimeError after ``close`` and in a process that was forked after the client was
        made.
        """
        number = self._client.begin(endpoint, path, body, max_reply, timeout_s)
        exchange = self._waiting[number] = _Exchange[T](loop=self._loop)
        # Not by an __init__ of its own, which would be one more function for each request.
        exchange.exchanges, exchange.number, exchange.read = self, number, read
        return exchange

    def cancelled(self, number: int) -> None:
        """Nobody waits for this exchange any more: end it."""
        if self._waiting.pop(number, None) is not None:
            self._client.cancel(number)

    def close(self) -> None:
        """End all exchanges, by IcUnreachable, and close all connections. Does nothing in a forked process."""
        if os.getpid() != self._process:
            return  # the loop's epoll is that of the first process, too, which would not be woken any more
        self._loop.remove_reader(self._client.fileno())
        self._client.close(CLOSE_DEADLINE_S)
        self._resolve()
        for exchange in self._waiting.values():  # the thread did not end in time
            if not exchange.done():
                exchange.set_exception(IcUnreachable("the endpoint", "the HTTP client was closed"))
        self._waiting.clear()

    def _resolve(self) -> None:
        for number, outcome in self._client.take():
            exchange = self._waiting.pop(number, None)
            if exchange is None or exchange.done():  # cancelled meanwhile
                continue
            if isinstance(outcome, Exception):
                exchange.set_exception(outcome)
                continue
            try:
                answer = exchange.read(*outcome)
            except Exception as error:  # whatever it is, it is of this exchange and no other
                exchange.set_exception(error)
            else:
                exchange.set_result(answer)


class _Exchange(asyncio.Future[T]):
    """What comes of one exchange. A future that ends the exchange itself where it is cancelled: a coroutine around it
    would cost time for each of them.
    """

    __slots__ = ("exchanges", "number", "read")

    exchanges: Exchanges
    number: int
    read: Read[T]

    def cancel(self, msg: Any = None) -> bool:
        """Also ends the exchange."""
        self.exchanges.cancelled(self.number)
        return super().cancel(msg)
