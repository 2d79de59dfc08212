"""One socket and the session on it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar, assert_never

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed as SocketClosed

from appliance.client.errors import ConnectionClosed
from appliance.client.opening import CLOSE_S
from appliance.client.sessions.session import Event, Opened, Received, Send, Session, State

T = TypeVar("T")

_MAX_REASON = 123  # bytes of a close frame's reason (RFC 6455 section 5.5)
_REMEMBERED = 1024  # values, where a generation confirms none
_OWN: Final = object()  # a message of the session itself among those of the application


class Channel:
    """Carries the session's frames. It has no task of its own: `opened` and `receive`, one at a time, read the socket.

    Every GatewayError that these two raise is the session's end; the socket is still to be closed then.
    """

    def __init__(self, socket: ClientConnection, session: Session, clock: Callable[[], int]) -> None:
        self._socket = socket
        self._session = session
        self._clock = clock
        self._received: deque[Received] = deque()
        self._outgoing: deque[bytes] = deque()
        self._writing = asyncio.Lock()
        self._sent: deque[Any] = deque(maxlen=_REMEMBERED if session.generation == "v0" else None)
        self._patience: asyncio.Timeout | None = None

    @property
    def unacknowledged(self) -> list[Any]:
        """The values that were sent and that the canister has not confirmed; in v0, which confirms none, the last
        1024."""
        return [value for value in self._sent if value is not _OWN]

    async def opened(self) -> None:
        """Start the session, and wait until the canister has accepted the client."""
        await self._act(self._session.start(now_ns=self._clock()))
        while self._session.state is not State.OPEN:
            await self._take_frame()

    async def receive(self) -> Received:
        """The next message of the application."""
        while not self._received:
            await self._take_frame()
        return self._received.popleft()

    async def send(self, content: bytes, value: object) -> None:
        """Sign a message and write it; `value` is its decoded form, for `unacknowledged`.

        Raises NotOpen, or ConnectionClosed where the socket closed before the message, which the session has counted,
        was written.
        """
        self._outgoing.append(self._session.send(content, now_ns=self._clock()).frame)
        self._sent.append(value)
        self._wait_until_deadline()
        await self._flush()

    async def close(self, code: int, reason: str) -> None:
        """End the session and the socket. Frames that still arrive are read and dropped, because the close frame of the
        other side comes after them."""
        self._session.close()
        discarding = asyncio.create_task(self._discard())
        try:
            # The library's own limit begins when the close frame is written: too late if the gateway reads nothing.
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code, _cut(reason))
        except TimeoutError:
            self._socket.transport.abort()
            await self._socket.wait_closed()
        finally:
            discarding.cancel()
            await asyncio.wait([discarding])

    async def _take_frame(self) -> None:
        frame = await self._next_frame()
        await self._act(self._session.receive(frame, now_ns=self._clock()))

    async def _next_frame(self) -> str | bytes:
        try:
            return await self._within_deadline(self._socket.recv)
        except SocketClosed:
            self._session.close()
            raise self._closed() from None

    async def _within_deadline(self, work: Callable[[], Awaitable[T]]) -> T:
        """Begin the work anew each time the deadline has moved meanwhile. Raises as the session's `check` does."""
        while True:
            try:
                async with asyncio.timeout(None) as self._patience:
                    self._wait_until_deadline()
                    return await work()
            except TimeoutError:
                self._session.check(now_ns=self._clock())
            finally:
                self._patience = None

    def _wait_until_deadline(self) -> None:
        """Set the reader's time limit to the session's deadline, which every sent or received message may move."""
        if self._patience is None or self._patience.expired():
            return
        when: float | None = None
        if (deadline_ns := self._session.deadline_ns) is not None:
            when = asyncio.get_running_loop().time() + (deadline_ns - self._clock()) / 1e9
        self._patience.reschedule(when)

    async def _act(self, events: Iterable[Event]) -> None:
        is_answered = False
        for event in events:
            match event:
                case Send(frame):
                    is_answered = True
                    self._outgoing.append(frame)
                    self._sent.append(_OWN)
                case Received():
                    self._received.append(event)
                case Opened():
                    pass  # the state of the session shows it
                case _:
                    assert_never(event)
        self._forget_acknowledged()
        if is_answered:  # else reading would wait for the application's messages to be written, and both sides for ever
            await self._within_deadline(self._flush)

    def _forget_acknowledged(self) -> None:
        """Drop confirmed values: an acknowledgement covers all up to one, so that the unconfirmed are the last."""
        if self._session.generation == "v0":
            return
        while len(self._sent) > self._session.unacknowledged:
            self._sent.popleft()

    async def _flush(self) -> None:
        """Write in the order of the sequence numbers. A cancelled sender leaves its frame in the queue for the next
        one, because the session has counted it, and a gap would end the session."""
        async with self._writing:
            try:
                while self._outgoing:
                    await self._socket.send(self._outgoing.popleft())
                    if self._session.state is State.CLOSED:  # while this waited to be written, as the library hides
                        raise self._closed()
            except SocketClosed:
                raise self._closed() from None

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(int(self._socket.close_code or 1006), self._socket.close_reason or "")

    async def _discard(self) -> None:
        with suppress(SocketClosed):
            while True:
                await self._socket.recv()


def _cut(reason: str) -> str:
    return reason.encode()[:_MAX_REASON].decode(errors="ignore")
