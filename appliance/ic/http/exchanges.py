"""Exchanges on the native IC client, as futures of an event loop."""

import asyncio
import os
from typing import TypeAlias

from appliance._native import HttpClient, HttpEndpoint
from appliance.errors import IcUnreachable

__all__ = ["CONNECT_TIMEOUT_S", "Exchanges", "HttpEndpoint", "HttpResponse"]

HttpResponse: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status; Content-Type, Location and Retry-After as far as they were sent; body."""

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
        self._waiting: dict[int, asyncio.Future[HttpResponse]] = {}
        self._loop.add_reader(self._client.fileno(), self._resolve)

    async def run(
        self, endpoint: HttpEndpoint, path: str, body: bytes | None, *, max_reply: int, timeout_s: float
    ) -> HttpResponse:
        """Send a request (POST with a body, GET without) and return the response.

        Raises IcUnreachable, ReplyTooLarge beyond ``max_reply`` bytes, and RuntimeError after ``close`` and in a
        process that was forked after the client was made.
        """
        exchange = self._client.begin(endpoint, path, body, max_reply, timeout_s)
        response: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._waiting[exchange] = response
        try:
            return await response
        finally:
            if self._waiting.pop(exchange, None) is not None:
                self._client.cancel(exchange)

    def close(self) -> None:
        """End all exchanges, by IcUnreachable, and close all connections. Does nothing in a forked process."""
        if os.getpid() != self._process:
            return  # the loop's epoll is that of the first process, too, which would not be woken any more
        self._loop.remove_reader(self._client.fileno())
        self._client.close(CLOSE_DEADLINE_S)
        self._resolve()
        for response in self._waiting.values():  # the thread did not end in time
            if not response.done():
                response.set_exception(IcUnreachable("the endpoint", "the HTTP client was closed"))

    def _resolve(self) -> None:
        for exchange, outcome in self._client.take():
            response = self._waiting.pop(exchange, None)
            if response is None or response.done():  # cancelled meanwhile
                continue
            if isinstance(outcome, Exception):
                response.set_exception(outcome)
            else:
                response.set_result(outcome)
