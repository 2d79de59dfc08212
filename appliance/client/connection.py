"""A connection to a canister: one session, or one after the other with `reconnect`."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from appliance.client.channel import Channel
from appliance.client.codec import Codec
from appliance.client.connector import Connector
from appliance.client.errors import ClientError, ConnectionClosed
from appliance.client.owner import Owner
from appliance.client.reconnect import Change, Lost, ReconnectState, Restored, RetryFailed
from appliance.client.sessions.session import Received
from appliance.errors import GatewayError
from appliance.ic.attempts import system_chance
from appliance.ic.principal import Principal

T = TypeVar("T")
V = TypeVar("V")

_INBOX = 1024  # events that may wait for the application; beyond, the socket is not read


@dataclass(frozen=True)
class Message(Generic[V]):
    """A message of the canister: verified, in order, and for this client."""

    value: V
    """Decoded by the connection's `message_type`."""
    sequence_num: int
    """From 1 on for each session; service messages of the protocol are counted too."""
    timestamp_ns: int
    """When the canister sent it."""
    certified_at_ns: int
    """The time of the certificate that it came with."""
    session: int
    """Of which session of the connection: 1 for the first, one more with each reconnection."""


class Connection(Generic[V]):
    """An open connection to a canister; made by `connect`.

    Iterating yields each `Message` and ends when the session ends in good order; it raises the GatewayError that ended
    the session otherwise. With `reconnect`, `session` below means the last one, and iterating over `events` also yields
    the changes between sessions. In a process that was forked from the one that opened it, methods raise RuntimeError.
    """

    def __init__(
        self,
        channel: Channel,
        connector: Connector,
        codec: Codec,
        *,
        reconnect_state: ReconnectState,
        reconnect: bool,
        on_change: Callable[[Change], object] | None,
    ) -> None:
        self._owner = Owner()
        self._channel: Channel | None = channel  # None while a new one is opened
        self._last_channel = channel
        self._connector = connector
        self._codec = codec
        self._reconnect_state = reconnect_state
        self._reconnect = reconnect
        self._on_change = on_change
        self._session = 1
        self._inbox: deque[tuple[int, Received] | Change] = deque()
        self._changed = asyncio.Condition()  # of the channel, of the inbox and of the end
        self._end: GatewayError | None = None
        self._runner = asyncio.create_task(self._run())

    @property
    def gateway(self) -> str:
        """The URL of the gateway that the session is, or is being opened, through."""
        return self._reconnect_state.gateway

    @property
    def principal(self) -> Principal:
        """The principal of the client; in v0, the one that registered its key."""
        return self._connector.parameters.identity.principal

    @property
    def unacknowledged(self) -> list[V]:
        """The values that were sent in this session and that the canister has not confirmed; it does so every few
        minutes. In v0, which confirms none, the last 1024. Those of a lost session are in its `Lost`."""
        return self._channel.unacknowledged if self._channel else []

    async def send(self, value: V) -> None:
        """Sign a message and give it to the gateway; the canister gets messages in the order of these calls.

        Waits while a lost session is opened again. A message that was signed for a session which is lost meanwhile is
        among those that `Lost` names; without reconnection ConnectionClosed is raised.

        Raises CandidError or Malformed for a value that does not fit, and the GatewayError that ended the session. In
        v0 where messages are sent directly: CanisterRefused or an IcError; the session goes on.
        """
        self._owner.check()
        content = self._codec.encode(value)
        channel = await self._open_channel()
        try:
            await channel.send(content, value)
        except ConnectionClosed as error:
            if self._end or not self._reconnect:
                raise self._end or error from None

    async def receive(self) -> Message[V]:
        """The next message. Raises the GatewayError that ended the session, and CandidError or Malformed for content
        that does not decode (the session goes on)."""
        while True:
            event = await self.receive_event()
            if isinstance(event, Message):
                return event

    async def receive_event(self) -> Message[V] | Change:
        """The next message or change, in the order in which they happened. Raises as `receive` does."""
        self._owner.check()
        async with self._changed:
            await self._changed.wait_for(lambda: self._inbox or self._end)
            if not self._inbox:
                assert self._end is not None  # noqa: S101 - what was waited for
                raise self._end
            next_one = self._inbox.popleft()
            self._changed.notify_all()
        if isinstance(next_one, Change):
            return next_one
        session, received = next_one
        value = self._codec.decode(received.content)
        return Message(value, received.sequence_num, received.timestamp_ns, received.certified_at_ns, session)

    def events(self) -> "Events[V]":
        """Messages and changes to iterate over. While 1024 events wait unread, changes are dropped."""
        return Events(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[V]:
        return await _unless_in_good_order(self.receive())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session and the socket; messages that wait are dropped. May be called again."""
        self._owner.check()
        closed = ConnectionClosed(code, reason)
        await self._finish(closed)  # first: whoever waits is told though this call be cancelled
        if self._end is closed:  # else the runner is closing, or has closed, for its own reason
            self._runner.cancel()
        await asyncio.wait([self._runner])
        self._inbox.clear()
        await self._last_channel.close(code, reason)
        await self._connector.close()
        if not self._runner.cancelled():
            self._runner.result()

    async def _open_channel(self) -> Channel:
        async with self._changed:
            await self._changed.wait_for(lambda: self._channel or self._end)
            if self._end:
                raise self._end
            assert self._channel is not None  # noqa: S101 - what was waited for
            return self._channel

    # --- the runner: the only reader of the socket, which also opens the next ----------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._reopen(await self._cause_of_end())
        except GatewayError as error:
            await self._finish(error)
            await self._last_channel.close(error.close_code, str(error))
            await self._connector.close()
        except Exception:
            await self._finish(ClientError())  # `close` raises the cause, which is a bug
            raise

    async def _cause_of_end(self) -> tuple[GatewayError, float]:
        """Read until the session ends; why, and after how many seconds."""
        started = asyncio.get_running_loop().time()
        try:
            while True:
                await self._keep(await self._last_channel.receive())
        except GatewayError as error:
            return error, asyncio.get_running_loop().time() - started

    async def _keep(self, received: Received) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._inbox) < _INBOX)
            self._inbox.append((self._session, received))
            self._changed.notify_all()

    async def _reopen(self, end: tuple[GatewayError, float]) -> None:
        """Raises the cause where that was the end of the connection, or the error of the last attempt."""
        cause, lasted_s = end
        state = self._reconnect_state.after_loss(cause, lasted_s=lasted_s) if self._reconnect else None
        if state is None:
            raise cause
        self._channel = None
        await self._report(Lost(self._reconnect_state.gateway, cause, tuple(self._last_channel.unacknowledged)))
        await self._last_channel.close(cause.close_code, str(cause))
        await self._retry(state)
        async with self._changed:
            self._channel = self._last_channel
            self._session += 1
        await self._report(Restored(self._reconnect_state.gateway))

    async def _retry(self, state: ReconnectState) -> None:
        """Raises the error of the last attempt."""
        while True:
            self._reconnect_state = state
            await asyncio.sleep(state.wait_s(chance=system_chance()))
            try:
                self._last_channel = await self._connector.open(state.gateway)
            except GatewayError as error:
                following = state.after_failure(error)
                if following is None:
                    raise
                await self._report(RetryFailed(state.gateway, error))
                state = following
            else:
                self._reconnect_state = state.after_success()
                return

    async def _report(self, change: Change) -> None:
        async with self._changed:
            if len(self._inbox) < _INBOX:
                self._inbox.append(change)
            self._changed.notify_all()
        if self._on_change:
            self._on_change(change)

    async def _finish(self, error: GatewayError) -> None:
        async with self._changed:
            self._end = self._end or error
            self._changed.notify_all()


class Events(Generic[V]):
    """The messages and changes of a connection, in order; ends and raises as iterating over the connection does."""

    def __init__(self, connection: Connection[V]) -> None:
        self._connection = connection

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[V] | Change:
        return await _unless_in_good_order(self._connection.receive_event())


async def _unless_in_good_order(receiving: Awaitable[T]) -> T:
    try:
        return await receiving
    except ClientError as error:
        if error.orderly:
            raise StopAsyncIteration from None
        raise
