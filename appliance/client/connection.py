"""The asyncio shell of a client: a WebSocket, a clock and a session."""

import asyncio
import secrets
import ssl as tls
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self, assert_never

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed as SocketClosed
from websockets.exceptions import WebSocketException

from appliance.client.errors import ClientError, ConnectFailed, ConnectionClosed
from appliance.client.root_key import verifier_for
from appliance.client.session import Event, Limits, Opened, Received, Send, Session
from appliance.client.v2 import SessionV2
from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.errors import CandidError, GatewayError
from appliance.ic.identity import KeyIdentity, adapt
from appliance.ic.principal import Principal

_MAX_FRAME = 8 * 1024**2  # a message of 2 MiB, its certificate and witness, and room
_INBOX = 1024  # messages that may wait for the application; beyond, the socket is not read
_MAX_REASON = 123  # bytes of a close frame's reason (RFC 6455 section 5.5)


@dataclass(frozen=True)
class Message:
    """A message of the canister: verified, in order, and for this client."""

    value: object
    """Decoded by the connection's `message_type`; without one the Candid bytes."""
    sequence_num: int
    """From 1 on for each connection; service messages of the protocol are counted too."""
    timestamp_ns: int
    """When the canister sent it."""
    certified_at_ns: int
    """The time of the certificate that it came with."""


class Connection:
    """An open session with a canister; made by `connect`.

    Iterating yields each `Message` and ends when the session ends in good order; it raises the GatewayError that ended
    the session otherwise.
    """

    def __init__(
        self, socket: ClientConnection, session: Session, types: CandidTypes | None, clock: Callable[[], int]
    ) -> None:
        self._socket = socket
        self._session = session
        self._types = types
        self._clock = clock
        self._inbox: deque[Received] = deque()
        self._news = asyncio.Condition()  # of the opening, of the inbox and of the end
        self._was_opened = False
        self._end: GatewayError | None = None
        self._outgoing: deque[bytes] = deque()
        self._writing = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._reader = asyncio.create_task(self._read())

    @property
    def unacknowledged(self) -> int:
        """How many sent messages the canister has not confirmed yet; it does so every few minutes."""
        return self._session.unacknowledged

    async def opened(self) -> None:
        """Wait until the canister has taken the client. Raises the GatewayError that ended the session before."""
        async with self._news:
            await self._news.wait_for(lambda: self._end or self._was_opened)
        if self._end and not self._was_opened:
            raise self._end

    async def send(self, value: object) -> None:
        """Sign a message and give it to the gateway; the canister gets messages in the order of these calls.

        `value` is encoded by the connection's `message_type`; without one it is Candid bytes. Raises CandidError for a
        value that does not fit, and the GatewayError that ended the session.
        """
        content = self._encode(value)
        if self._end:
            raise self._end
        self._outgoing.append(self._session.send(content, now_ns=self._clock()).frame)
        self._wait_until_deadline()
        try:
            await self._flush()
        except SocketClosed:
            raise _closed(self._socket) from None

    async def receive(self) -> Message:
        """The next message. Raises the GatewayError that ended the session, and CandidError for content that is not of
        the connection's `message_type` (the session goes on)."""
        async with self._news:
            await self._news.wait_for(lambda: self._inbox or self._end)
            if not self._inbox:
                assert self._end is not None  # noqa: S101 - what was waited for
                raise self._end
            received = self._inbox.popleft()
            self._news.notify_all()
        value = self._types.decode(received.content)[0] if self._types else received.content
        return Message(value, received.sequence_num, received.timestamp_ns, received.certified_at_ns)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except ClientError as error:
            if error.orderly:
                raise StopAsyncIteration from None
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session and the socket; messages that wait are dropped. May be called again."""
        self._session.close()
        if self._end is None:  # else the reader is closing, or has closed, for its own reason
            self._reader.cancel()
        await asyncio.wait([self._reader])
        self._inbox.clear()
        await self._finish(ConnectionClosed(code, reason))
        await self._close_socket(code, reason)
        if not self._reader.cancelled():
            self._reader.result()

    def _encode(self, value: object) -> bytes:
        if self._types:
            return self._types.encode(value)
        if isinstance(value, bytes):
            return value
        raise CandidError("a connection without a message_type sends bytes only")

    # --- the reader: it alone takes frames, and ends the session where one is wrong -----------------------------

    async def _read(self) -> None:
        try:
            await self._act(self._session.start(now_ns=self._clock()))
            while True:
                frame = await self._next_frame()
                await self._act(self._session.receive(frame, now_ns=self._clock()))
        except SocketClosed:
            await self._finish(_closed(self._socket))
        except GatewayError as error:
            await self._finish(error)
            await self._close_socket(error.close_code, str(error))
        except Exception:
            await self._finish(ClientError())  # `close` raises the cause, which is a bug
            raise

    async def _next_frame(self) -> str | bytes:
        while True:
            try:
                async with asyncio.timeout(None) as self._patience:
                    self._wait_until_deadline()
                    return await self._socket.recv()
            except TimeoutError:
                self._session.check(now_ns=self._clock())
            finally:
                self._patience = None

    def _wait_until_deadline(self) -> None:
        """Let the reader wait as long as the session does: with each message sent or taken that may change."""
        if self._patience is None or self._patience.expired():
            return
        when: float | None = None
        if (deadline_ns := self._session.deadline_ns) is not None:
            when = asyncio.get_running_loop().time() + (deadline_ns - self._clock()) / 1e9
        self._patience.reschedule(when)

    async def _act(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Send(reply):
                    self._outgoing.append(reply)
                    await self._flush()
                case Opened():
                    async with self._news:
                        self._was_opened = True
                        self._news.notify_all()
                case Received():
                    await self._keep(event)
                case _:
                    assert_never(event)

    async def _keep(self, received: Received) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self._inbox) < _INBOX)
            self._inbox.append(received)
            self._news.notify_all()

    async def _finish(self, error: GatewayError) -> None:
        async with self._news:
            self._end = self._end or error
            self._news.notify_all()

    # --- the socket ---------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Write in the order of the sequence numbers, also when a sender is cancelled while it waits here."""
        async with self._writing:
            while self._outgoing:
                await self._socket.send(self._outgoing.popleft())

    async def _close_socket(self, code: int, reason: str) -> None:
        """Close, and meanwhile drop what still arrives, so that the other side's close frame is seen."""
        discarding = asyncio.create_task(self._discard())
        try:
            await self._socket.close(code, _cut(reason))
        finally:
            discarding.cancel()
            await asyncio.wait([discarding])

    async def _discard(self) -> None:
        with suppress(SocketClosed):
            while True:
                await self._socket.recv()


@asynccontextmanager
async def connect(
    url: str,
    canister_id: Principal | str,
    *,
    identity: object = None,
    network_url: str | None = None,
    root_key: bytes | str | None = None,
    verifier: Verifier | None = None,
    message_type: str | None = None,
    limits: Limits | None = None,
    ssl: tls.SSLContext | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Connection]:
    """Open a session with a canister through the gateway at `url`, and close it at the end of the block.

    `url` is ``ws://`` or ``wss://``, with the path of wire generation v2 (``/`` or ``/v2``). `identity` is one of
    `appliance.ic.identity` or of another library that its `adapt` takes; without one a fresh Ed25519 key is made.

    Messages are verified by `verifier`, or against `root_key`: 133 bytes of DER, 266 hexadecimal digits, ``mainnet``,
    or ``fetch`` to trust what `network_url` answers, which is the default where there is such a URL, else ``mainnet``.

    `message_type` is the canister's application message as a Candid type, e.g. ``record {text: text}``: values are
    encoded and decoded by it; without one they are bytes. `clock` is nanoseconds since 1970.

    Raises ConnectFailed where no socket opens, KeyUnusable, CandidError (in `message_type`), an IcError where the root
    key cannot be fetched, and the GatewayError that ends the session before the canister took the client.
    """
    types = CandidTypes(f"({message_type})") if message_type else None
    canister = Principal.from_text(canister_id) if isinstance(canister_id, str) else canister_id
    signer = KeyIdentity(SigningKey.generate("ed25519")) if identity is None else adapt(identity)
    trusted = verifier or await verifier_for(root_key, network_url)
    socket = await _socket(url, ssl)
    nonce = secrets.randbits(64)
    session = SessionV2(canister, signer, trusted, client_nonce=nonce, now_ns=clock(), limits=limits)
    connection = Connection(socket, session, types, clock)
    try:
        await connection.opened()
        yield connection
    finally:
        await connection.close()


async def _socket(url: str, ssl: tls.SSLContext | None) -> ClientConnection:
    try:
        return await connect_socket(url, ssl=ssl, max_size=_MAX_FRAME, compression=None)
    except (OSError, ValueError, WebSocketException) as error:
        raise ConnectFailed(url, str(error) or type(error).__name__) from error


def _closed(socket: ClientConnection) -> ConnectionClosed:
    return ConnectionClosed(socket.close_code or 1006, socket.close_reason or "")


def _cut(reason: str) -> str:
    return reason.encode()[:_MAX_REASON].decode(errors="ignore")
