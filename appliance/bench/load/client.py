"""The load generator's WebSocket client: as little work per message as there can be, and every sequence number seen.

It does not verify what it receives, except for a sample: verification is the gateway's work that is measured, and the
generator must not be the bottleneck. A gateway that loses, repeats or reorders messages is found out all the same.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from appliance.bench.histogram import Histogram
from appliance.bench.wire import LoadIdentity, Tail, content_of, sequence_of
from appliance.crypto import Verifier
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
_SAMPLE_NS = 10**9

Latency = Callable[[Tail], int | None]
"""When a message was due (ns of the monotonic clock); None where that is not measured."""


@dataclass
class Tally:
    """What all clients of a run saw. ``lost`` and ``repeated`` follow from the sequence numbers of the canister,
    ``misrouted`` are verified messages for somebody else, ``closes`` counts sockets that the gateway closed, by why."""

    opened: int = 0
    received: int = 0
    bytes: int = 0
    lost: int = 0
    repeated: int = 0
    misrouted: int = 0
    verified: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    on_message: Callable[[], None] = lambda: None


class Run(Protocol):
    """What a client needs to know of its run."""

    tally: Tally
    verifier: Verifier
    due_of: Latency
    sampled_at_ns: int

    def opening(self, client: LoadIdentity, canister_id: Principal) -> bytes:
        """The opening frame of a client."""


class LoadClient(asyncio.Protocol):
    """One connection: upgrades, opens its session, then counts. ``opened`` is done when the session is open, or fails
    with ConnectionError."""

    def __init__(self, run: Run, client: LoadIdentity, canister_id: Principal, host: str, path: str) -> None:
        self._run = run
        self._client = client
        self._canister_id = canister_id
        self._target = (host, path)
        self._data = bytearray()
        self._upgraded = False
        self._greeted = False
        self._sequence = 0
        self.is_leaving = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def number(self) -> int:
        """Of its identity."""
        return self._client.number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self.transport = cast("asyncio.Transport", transport)
        host, path = self._target
        self.transport.write(_UPGRADE.format(host=host, path=path).encode())

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete."""
        self._run.tally.bytes += len(data)
        self._data += data
        if not self._upgraded and not self._read_response():
            return
        at = 0
        while (frame := _frame_at(self._data, at)) is not None:
            opcode, begin, end = frame
            self._take(opcode, bytes(self._data[begin:end]))
            at = end
        if at:
            del self._data[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for the session need not."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the gateway closed the socket before the session was open"))
            self.opened.exception()  # whoever awaits it hears of it; nobody else need be warned
        if not self.is_leaving:
            self._count_close("lost")
            self.is_leaving = True

    def send(self, frame: bytes) -> None:
        """Write a complete frame."""
        self.transport.write(frame)

    def leave(self) -> None:
        """Close in order."""
        self.is_leaving = True
        self.transport.write(_CLOSE)

    def _read_response(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        line = bytes(self._data[: self._data.find(b"\r\n")]).decode(errors="replace")
        del self._data[: end + 4]
        self._upgraded = " 101 " in f"{line} "
        if not self._upgraded:
            self._count_close(line.removeprefix("HTTP/1.1 "))
            self.is_leaving = True
            self.transport.close()
        return self._upgraded

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
        elif opcode == 8:
            self._closed(payload)
        elif not self._greeted:
            self._greeted = True
            self.transport.write(self._run.opening(self._client, self._canister_id))
        else:
            self._message(payload)

    def _closed(self, payload: bytes) -> None:
        if not self.is_leaving:
            self.is_leaving = True
            self._count_close(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")
        self.transport.close()

    def _count_close(self, why: str) -> None:
        closes = self._run.tally.closes
        closes[why] = closes.get(why, 0) + 1

    def _message(self, payload: bytes) -> None:
        run = self._run
        now_ns = time.monotonic_ns()
        if not self._sequence or now_ns - run.sampled_at_ns > _SAMPLE_NS:
            run.sampled_at_ns = now_ns
            self._sample(payload)
            return
        content = content_of(payload)
        self._follow(sequence_of(content))
        self._arrived(Tail.of(content))

    def _sample(self, payload: bytes) -> None:
        """Verify certificate, witness and whom it is for, as a client of the SDK would."""
        run, tally = self._run, self._run.tally
        try:
            message = run.verifier.open_message(payload, self._canister_id, generation=2, now_ns=time.time_ns())
        except GatewayError as error:
            self._count_close(f"unverified: {error}")
            return
        tally.verified += 1
        tally.misrouted += message.client_key != self._client.key_bytes
        self._follow(message.sequence_num)
        if not message.is_service_message:
            self._arrived(Tail.of(message.content))
        elif not self.opened.done():
            tally.opened += 1
            self.opened.set_result(None)

    def _follow(self, sequence_num: int) -> None:
        expected, tally = self._sequence + 1, self._run.tally
        if sequence_num != expected:
            tally.lost += max(0, sequence_num - expected)
            tally.repeated += sequence_num < expected
        self._sequence = max(self._sequence, sequence_num)

    def _arrived(self, tail: Tail) -> None:
        tally = self._run.tally
        tally.received += 1
        if (due_ns := self._run.due_of(tail)) is not None:
            tally.latency.record(time.monotonic_ns() - due_ns)
        tally.on_message()


def _frame_at(data: bytearray, at: int) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame that begins here; None while it is incomplete."""
    have = len(data) - at
    if have < 2:
        return None
    size, head = data[at + 1] & 0x7F, 2
    if size == 126:
        if have < 4:
            return None
        size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
    elif size == 127:
        if have < 10:
            return None
        size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
    if have < head + size:
        return None
    return data[at] & 0x0F, at + head, at + head + size
