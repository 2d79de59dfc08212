"""The steps of the way of a message through the gateway."""

import asyncio
from itertools import cycle
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import SigningKey, Verifier, encode_cbor
from appliance.gateway.hub import Hub
from appliance.gateway.outbox import Outbox
from appliance.gateway.polling.replies import Replies
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.timeline import NO_POLL, PollRecord
from appliance.ic.identity import KeyIdentity
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Call, Join
from appliance.protocol.frames import Delivery, binary_frame
from appliance.protocol.session import SessionContext
from appliance.protocol.v2 import V2
from benchmarks.test_native import poll_reply
from tests.client.canister import Canister
from tests.native.canister import CANISTER, GATEWAY, NOW_NS, SECRET

NONCE = 7


def conversation() -> tuple[V2, SessionV2, Join]:
    """Both sides of a session whose opening message is on its way."""
    verifier = Verifier(SECRET.public_key)
    client = SessionV2(
        CANISTER, KeyIdentity(SigningKey.generate("ed25519")), verifier, client_nonce=NONCE, now_ns=NOW_NS
    )
    gateway = V2(SessionContext(GATEWAY, Envelopes(verifier, "enforce")))
    gateway.connect()
    (opening,) = client.receive(encode_cbor({"gateway_principal": GATEWAY}), now_ns=NOW_NS)
    join, _, _ = gateway.receive(opening.frame, now_ns=NOW_NS)  # type: ignore[union-attr]
    assert isinstance(join, Join)
    return gateway, client, join


def test_up_session_receives_a_message(benchmark: BenchmarkFixture) -> None:
    gateway, client, join = conversation()
    canister = Canister(principal=client.client_key[:-8], client_nonce=NONCE, now_ns=NOW_NS, root=SECRET)  # type: ignore[arg-type]
    client.receive(canister.open(), now_ns=NOW_NS)
    gateway.delivered(Delivery(b"frame", 0, 1))
    frames = cycle([client.send(b"c" * 100, now_ns=NOW_NS).frame for _ in range(500)])
    (relay,) = benchmark(lambda: gateway.receive(next(frames), now_ns=NOW_NS))
    assert relay.call.sender == join.opening.sender


def test_client_signs_a_message(benchmark: BenchmarkFixture) -> None:
    _, client, _ = conversation()
    canister = Canister(principal=client.client_key[:-8], client_nonce=NONCE, now_ns=NOW_NS, root=SECRET)  # type: ignore[arg-type]
    client.receive(canister.open(), now_ns=NOW_NS)
    assert benchmark(client.send, b"c" * 100, now_ns=NOW_NS).frame


def test_down_frame_is_made_by_hand(benchmark: BenchmarkFixture) -> None:
    assert benchmark(binary_frame, b"p" * 1500)


class Sink:
    """A transport and a member that forget everything."""

    is_open = True

    def write(self, data: bytes) -> None:
        pass

    def fail(self, error: Exception) -> None:
        pass

    def __init__(self) -> None:
        self.outbox = Outbox(self, 1 << 20)

    def begins_with(self, written_ns: int, certified_ns: int) -> bool:
        return True

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: PollRecord) -> bool:
        self.outbox.put(frame)
        return True


def test_down_outbox_put(benchmark: BenchmarkFixture) -> None:
    benchmark(Sink().outbox.put, b"f" * 1500)


@pytest.mark.parametrize("clients", [1, 10_000])
def test_down_hub_look_up_and_put(benchmark: BenchmarkFixture, clients: int) -> None:
    _, _, join = conversation()
    hub, call = Hub(), Call(join.canister_id, "ws_open", b"")
    for number in range(clients):
        key = b"%020d" % number
        hub.join(Join("v2", join.canister_id, key, "", call), Sink(), limit=None, now_ns=NOW_NS)  # type: ignore[arg-type]
    members, key = hub.members(join.canister_id), b"%020d" % (clients - 1)

    def pass_on() -> None:
        members[key].deliver(b"f" * 1500, 0, 1, NO_POLL)

    benchmark(pass_on)


@pytest.mark.parametrize("messages", [1, 50])
def test_down_reply_opened_off_the_loop(benchmark: BenchmarkFixture, messages: int) -> None:
    replies = Replies(Verifier(SECRET.public_key), "enforce", Counters(), gateway=GATEWAY, clock=lambda: NOW_NS)
    data = poll_reply(messages)
    with asyncio.Runner() as runner:

        def open_reply() -> Any:
            return runner.run(replies.open(data, CANISTER, 2))

        assert len(benchmark(open_reply).messages) == messages
