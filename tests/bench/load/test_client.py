"""A client against a gateway that is right, and against gateways that are wrong."""

from collections.abc import Callable
from typing import cast

import pytest

from appliance.bench.load.client import LoadClient, Received
from appliance.bench.load.generator import LoadRun
from appliance.bench.target import Target
from appliance.bench.wire import LoadIdentity
from appliance.crypto import encode_cbor
from appliance.protocol.frames import binary_frame
from tests.bench.machine import CANISTER, GATEWAY, NOW_NS, Network, payload_of

Frames = list[bytes]
COUNT = 6


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True


class Conversation:
    """Two clients of one run with open sessions, and ``COUNT`` messages for each that wait at the canister."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("appliance.bench.load.client.time.time_ns", lambda: NOW_NS)
        monkeypatch.setattr("appliance.bench.load.generator.time.time_ns", lambda: NOW_NS)
        self.network = Network()
        self.run = LoadRun(Target("ws://gateway", GATEWAY.principal), self.network.verifier, seed=b"seed")
        self.clients = [self._connected(number) for number in range(2)]
        for client, frame in zip(self.clients, self.network.frames(), strict=True):
            client.data_received(frame)
        canister = self.network.replica.canister(CANISTER)
        canister.page_size = 2 * COUNT
        canister.prepare(
            1, 100, lambda data: self.network.replica.certify(CANISTER, data), shared=True, timestamp_ns=NOW_NS
        )
        canister.release()
        frames = self.network.frames(2)
        self.frames = [frames[0::2], frames[1::2]]

    @property
    def received(self) -> Received:
        return self.run.received

    def _connected(self, number: int) -> LoadClient:
        client = LoadClient(self.run, LoadIdentity(b"seed", number), CANISTER, "gateway", "/")
        transport = Transport()
        client.connection_made(transport)  # type: ignore[arg-type]  # what the client uses of one
        assert transport.written[0].startswith(b"GET / HTTP/1.1\r\n")
        handshake = binary_frame(encode_cbor({"gateway_principal": GATEWAY.principal}))
        client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + handshake)
        self.network.call(payload_of(transport.written[1]))
        return client

    def deliver(self, change: Callable[[Frames, Frames], Frames]) -> None:
        """Deliver to the first client what is made of its frames and those of the other."""
        for frame in change(*self.frames):
            self.clients[0].data_received(frame)


def faults(received: Received) -> tuple[int, int, int]:
    return received.lost, received.repeated, received.misrouted


async def test_a_gateway_that_delivers_all_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(monkeypatch)
    conversation.deliver(lambda own, _: own)
    assert conversation.received.messages == COUNT
    assert conversation.received.verified >= 2, "the first message of each session"
    assert faults(conversation.received) == (0, 0, 0)
    assert not conversation.received.closes
    assert all(client.opened.done() for client in conversation.clients)


async def test_frames_may_arrive_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(monkeypatch)
    for byte in b"".join(conversation.frames[0]):
        conversation.clients[0].data_received(bytes([byte]))
    assert conversation.received.messages == COUNT


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda own, _: own[:2] + own[4:], (2, 0, 0)),
        (lambda own, _: [*own, own[-1]], (0, 1, 0)),
        (lambda own, _: [own[0], own[2], own[1], *own[3:]], (1, 1, 0)),
        (lambda own, other: [*own[:-1], other[-1]], (0, 0, 1)),
    ],
    ids=["lost", "repeated", "reordered", "misrouted"],
)
async def test_a_gateway_that_is_wrong_is_found_out(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Frames, Frames], Frames], expected: tuple[int, int, int]
) -> None:
    conversation = Conversation(monkeypatch)
    conversation.deliver(change)
    assert faults(conversation.received) == expected


async def test_a_changed_message_is_found_in_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(monkeypatch)
    conversation.run.sampled_at_ns = 0  # the next message is in the sample
    own = conversation.frames[0][0]
    changed = own.replace(b"is_service_message", b"is_service_massage")
    assert changed != own
    conversation.clients[0].data_received(changed)
    (reason,) = conversation.received.closes
    assert "not valid" in reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "429 Too Many Requests"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x05\x0f\xa8you", "4008 you"),
    ],
)
async def test_a_refusal_is_counted_with_its_reason(monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str) -> None:
    conversation = Conversation(monkeypatch)
    client = LoadClient(conversation.run, LoadIdentity(b"seed", 9), CANISTER, "gateway", "/")
    client.connection_made(Transport())  # type: ignore[arg-type]
    client.data_received(data)
    client.connection_lost(None)
    assert conversation.received.closes == {reason: 1}
    assert isinstance(client.opened.exception(), ConnectionError)


async def test_a_ping_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(monkeypatch)
    client = conversation.clients[0]
    client.data_received(b"\x89\x02hi")
    assert cast("Transport", client.transport).written[-1] == b"\x8a\x82\x00\x00\x00\x00hi"
