"""The load generator's WebSocket client: little work per message, and every sequence number checked.

It verifies one message a second and the first of each session: verifying is the gateway's work that is measured, and
the generator must not be the bottleneck. A gateway that loses, repeats, reorders or misroutes messages is detected all
the same, by the client key and the sequence number in every message.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from appliance.bench.histogram import Histogram
from appliance.bench.load.frames import CLOSE, PING, frame_at
from appliance.bench.wire import LoadIdentity, Tail, address_of, content_of, sequence_of
from appliance.crypto import Verifier
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_CLOSE_1000 = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
_SAMPLE_INTERVAL_NS = 10**9

DueOf = Callable[[Tail], int | None]
"""Returns when a message was due (ns of the monotonic clock); None if its latency is not measured."""


@dataclass
class Received:
    """What all clients of a run received. ``lost`` and ``repeated`` follow from the sequence numbers, ``misrouted``
    counts messages for another client, ``closes`` sockets that the gateway closed, by reason. ``first_ns`` and
    ``last_ns`` are when the first and the last message arrived, or 0."""

    opened: int = 0
    messages: int = 0
    bytes: int = 0
    lost: int = 0
    repeated: int = 0
    misrouted: int = 0
    verified: int = 0
    first_ns: int = 0
    last_ns: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)

    def count_close(self, reason: str) -> None:
        """Count a socket that the gateway closed."""
        self.closes[reason] = self.closes.get(reason, 0) + 1


class Run(Protocol):
    """What a client uses of its run."""

    received: Received
    verifier: Verifier
    due_of: DueOf
    sampled_at_ns: int

    def opening(self, client: LoadIdentity, canister_id: Principal) -> bytes:
        """Return the opening frame of a client."""


class LoadClient(asyncio.Protocol):
    """One connection: upgrades, opens its session, then counts messages.

    ``opened`` is done when the session is open; it raises ConnectionError if the socket closes before.
    """

    def __init__(self, run: Run, client: LoadIdentity, canister_id: Principal, host: str, path: str) -> None:
        self._run = run
        self._client = client
        self._sender = bytes(client.identity.principal)
        self._canister_id = canister_id
        self._request = _UPGRADE.format(host=host, path=path).encode()
        self._data = bytearray()
        self._is_upgraded = False
        self._has_handshake = False
        self._sequence = 0
        self.close_reason = ""
        self.is_leaving = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def number(self) -> int:
        """The number of its identity."""
        return self._client.number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the upgrade."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Handle the frames that are complete."""
        self._run.received.bytes += len(data)
        self._data += data
        if not self._is_upgraded and not self._read_response():
            return
        at = 0
        while (frame := frame_at(self._data, at)) is not None:
            self._handle(frame.opcode, bytes(self._data[frame.begin : frame.end]))
            at = frame.end
        if at:
            del self._data[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail ``opened`` if it still waits."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the gateway closed the socket before the session was open"))
            self.opened.exception()  # a client that was cancelled awaits it no longer, and asyncio would warn
        self._closed(f"the connection was lost: {exc}" if exc else "the connection was closed without a code")

    def send(self, frame: bytes) -> None:
        """Write a complete frame."""
        self.transport.write(frame)

    def leave(self) -> None:
        """Send a close frame."""
        self.is_leaving = True
        self.transport.write(_CLOSE_1000)

    def _read_response(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = bytes(self._data[: self._data.find(b"\r\n")]).decode(errors="replace").removeprefix("HTTP/1.1 ")
        del self._data[: end + 4]
        self._is_upgraded = status.startswith("101")
        if not self._is_upgraded:
            self._closed(status)
        return self._is_upgraded

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
        elif opcode == CLOSE:
            self._closed(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")
        elif self._has_handshake:
            self._handle_message(payload)
        else:
            self._has_handshake = True
            self.transport.write(self._run.opening(self._client, self._canister_id))

    def _closed(self, reason: str) -> None:
        if not self.is_leaving:
            self.is_leaving = True
            self.close_reason = reason
            self._run.received.count_close(reason)
        self.transport.close()

    def _handle_message(self, payload: bytes) -> None:
        run, now_ns = self._run, time.monotonic_ns()
        try:
            if not self._sequence or now_ns - run.sampled_at_ns > _SAMPLE_INTERVAL_NS:
                run.sampled_at_ns = now_ns
                self._verify(payload)
            content = content_of(payload)
            address = address_of(content)
            run.received.misrouted += self._sender not in address
            is_first = not self._sequence
            self._check_sequence(sequence_of(address))
            if is_first:
                self._opened()
            else:
                self._count(Tail.of(content), now_ns)
        except GatewayError as error:
            self._closed(f"the gateway sent a message that is not valid: {error}")

    def _verify(self, payload: bytes) -> None:
        """Verify certificate and witness, as a client of the SDK does."""
        run = self._run
        message = run.verifier.open_message(payload, self._canister_id, generation=2, now_ns=time.time_ns())
        run.received.verified += message.client_key == self._client.key_bytes

    def _opened(self) -> None:
        if not self.opened.done():
            self._run.received.opened += 1
            self.opened.set_result(None)

    def _check_sequence(self, sequence_num: int) -> None:
        expected, received = self._sequence + 1, self._run.received
        if sequence_num != expected:
            received.lost += max(0, sequence_num - expected)
            received.repeated += sequence_num < expected
        self._sequence = max(self._sequence, sequence_num)

    def _count(self, tail: Tail, now_ns: int) -> None:
        received = self._run.received
        received.messages += 1
        received.first_ns = received.first_ns or now_ns
        received.last_ns = now_ns
        if (due_ns := self._run.due_of(tail)) is not None:
            received.latency.record(now_ns - due_ns)
