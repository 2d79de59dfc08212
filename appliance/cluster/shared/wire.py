"""A connection to Redis for what happens with each message: announcements of entries, and reads of them.

The client library takes some two hundred steps of Python for an answer, more than a poll of the IC. This takes the few
that reading an entry needs. How a connection is made (the address, a password, TLS) is the same for both.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from appliance.errors import EngineAway

MAX_BYTES = 96 * 1024**2
"""Of an answer: the largest reply of a canister (``network.max_reply``) and more."""
MAX_ITEMS = 10_000
"""Of a list in an answer."""
MAX_DEPTH = 4
MAX_WAITING = 64
"""Requests without an answer, beyond which none is made: the engine stands still."""

Value: TypeAlias = "bytes | int | None | list[Value] | Problem"


class Problem(str):
    """What the server answers instead of a value."""

    __slots__ = ()


class _Incomplete(Exception):
    """The rest of an answer has not come yet."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens: a host and a port, or the path of a socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """How to connect there; ``find`` is asked each time, since a Sentinel may have another answer. ``credentials`` are
    the arguments of AUTH, None where there are none. ``timeout_s`` is for the connection, and for each answer.
    """

    find: Callable[[], Awaitable[Address]]
    credentials: Callable[[], Awaitable[tuple[str, ...] | None]]
    database: int
    timeout_s: float
    tls: ssl.SSLContext | None = None


class Wire(asyncio.Protocol):
    """One connection. Answers come in the order of the requests; ``pushed`` gets what is published, instead."""

    def __init__(self, timeout_s: float, pushed: Callable[[bytes], None] | None = None) -> None:
        self._timeout_s = timeout_s
        self._pushed = pushed
        self._read = bytearray()
        self._waiting: deque[asyncio.Future[Value]] = deque()
        self._answered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def connected(cls, login: Login, pushed: Callable[[bytes], None] | None = None) -> "Wire":
        """A connection that is ready to be used. Raises EngineAway, OSError, and what ``login`` raises."""
        async with asyncio.timeout(login.timeout_s):
            address = await login.find()
            loop = asyncio.get_running_loop()
            wire = cls(login.timeout_s, pushed)
            if address.path is not None:
                await loop.create_unix_connection(lambda: wire, str(address.path))
            else:
                await loop.create_connection(lambda: wire, address.host, address.port, ssl=login.tls)
            try:
                if (credentials := await login.credentials()) is not None:
                    await wire.ask("AUTH", *credentials)
                if login.database:
                    await wire.ask("SELECT", login.database)
            except BaseException:
                wire.close()
                raise
        return wire

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return not self.ended.done()

    def ask(self, *parts: bytes | str | int) -> "asyncio.Future[Any]":
        """Make a request. Raises EngineAway, as the answer does if it is an error or none comes."""
        if self._transport is None or len(self._waiting) >= MAX_WAITING:
            raise EngineAway("the connection for shared polls was lost")
        encoded = [each if isinstance(each, bytes) else str(each).encode() for each in parts]
        self._transport.write(b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(e), e) for e in encoded]))
        answer: asyncio.Future[Value] = self._loop.create_future()
        self._waiting.append(answer)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check, self._answered)
        return answer

    def close(self) -> None:
        """Close the connection; what waits for an answer gets EngineAway."""
        if self._transport is not None:
            self._transport.abort()

    def _check(self, answered: int) -> None:
        """Has anything been answered since, and does anything wait?"""
        self._timer = None
        if not self._waiting:
            return
        if answered == self._answered:
            self.close()
            return
        self._timer = self._loop.call_later(self._timeout_s, self._check, self._answered)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none by name

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            if not (answer := self._waiting.popleft()).done():
                answer.set_exception(EngineAway(str(exc or "the connection for shared polls was lost")))
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._read += data
        position = 0
        try:
            while position < len(self._read):
                value, position = self._value(position, 0)
                self._take(value)
        except _Incomplete:
            if len(self._read) - position > MAX_BYTES:
                self.close()
        except (ValueError, IndexError):
            self._read.clear()
            self.close()
            return
        del self._read[:position]

    def _value(self, start: int, depth: int) -> tuple[Value, int]:
        """The value there, and where the next one begins. Raises ValueError and IndexError for what is none."""
        if (end := self._read.find(b"\r\n", start)) < 0:
            raise _Incomplete
        kind, line, end = self._read[start], bytes(self._read[start + 1 : end]), end + 2
        if kind == 0x24:  # $
            length = int(line)
            if length < 0:
                return None, end
            if length > MAX_BYTES:
                raise ValueError(length)
            if len(self._read) < end + length + 2:
                raise _Incomplete
            return bytes(self._read[end : end + length]), end + length + 2
        if kind == 0x3A:  # :
            return int(line), end
        if kind == 0x2A:  # *
            if (items := int(line)) > MAX_ITEMS or depth >= MAX_DEPTH:
                raise ValueError(items)
            values: list[Value] = []
            for _ in range(items):
                value, end = self._value(end, depth + 1)
                values.append(value)
            return values, end
        if kind == 0x2B:  # +
            return line, end
        if kind == 0x2D:  # -
            return Problem(line.decode(errors="replace")), end
        raise ValueError(kind)

    def _take(self, value: Value) -> None:
        if self._pushed is not None and isinstance(value, list) and len(value) == 3 and value[0] == b"message":
            if isinstance(value[2], bytes):
                self._pushed(value[2])
            return
        answer = self._waiting.popleft()
        self._answered += 1
        if answer.done():
            return
        if isinstance(value, Problem):
            answer.set_exception(EngineAway(value))
        else:
            answer.set_result(value)


class Reads:
    """Scripts at the server over one connection, which is made when it is needed. Raises EngineAway."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()

    async def script(self, script: str, digest: str, key: bytes, *arguments: bytes | str | int) -> Any:
        """The answer of a script that has one key."""
        wire = self._wire
        if wire is None or not wire.is_open:
            wire = await self._connected()
        try:
            return await wire.ask("EVALSHA", digest, 1, key, *arguments)
        except EngineAway as error:
            if not error.problem.startswith("NOSCRIPT"):
                raise
        return await wire.ask("EVAL", script, 1, key, *arguments)

    async def _connected(self) -> Wire:
        async with self._connecting:
            if self._wire is None or not self._wire.is_open:
                self._wire = await Wire.connected(self._login)
            return self._wire

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()


async def hear(login: Login, channel: bytes, heard: Callable[[bytes], None]) -> None:
    """Pass on what is published in a channel, until cancelled. Raises EngineAway and OSError."""
    wire = await Wire.connected(login, heard)
    try:
        await wire.ask("SUBSCRIBE", channel)
        await wire.ended
    finally:
        wire.close()
    raise EngineAway("the connection that announces entries was lost")


def digest_of(script: str) -> str:
    """What EVALSHA calls a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
