"""The stub's certificates and messages, verified as gateways and clients do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.bench.stub.replica import KEPT_CALLS, StubReplica
from appliance.bench.wire import LoadIdentity, Tail, message_frame, opening_frame
from appliance.client.sessions.session import Opened, Received, Send
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import decode_cbor, encode_cbor
from appliance.errors import CertificateError, Malformed
from appliance.ic.envelope import sign_request
from appliance.ic.principal import Principal
from tests.bench.machine import CANISTER, GATEWAY, NOW_NS, Network, payload_of

CLIENT = LoadIdentity(b"seed", 1)


def opened(network: Network, client: LoadIdentity = CLIENT) -> list[bytes]:
    return network.call(payload_of(opening_frame(client, CANISTER, GATEWAY.principal, NOW_NS)))


def message(number: int, size: int = 100) -> bytes:
    return payload_of(message_frame(CLIENT, CANISTER, number + 1, Tail(number, 0).content(size), NOW_NS))


@pytest.mark.parametrize("version", [3, 4])
def test_the_reply_to_a_call_has_a_certificate_that_verifies(version: int) -> None:
    network = Network(version)
    (body,) = opened(network)
    reply = decode_cbor(body)
    assert isinstance(reply, dict)
    tree = network.verifier.verify_certificate(reply["certificate"], CANISTER, now_ns=NOW_NS)
    (request_id,) = tree.children([b"request_status"])
    assert tree.lookup([b"request_status", request_id, b"status"]) == b"replied"
    assert tree.subnet_id is not None


def test_a_whole_session_of_the_python_client() -> None:
    network = Network()
    session = SessionV2(CANISTER, CLIENT.identity, network.verifier, client_nonce=1, now_ns=NOW_NS)
    handshake = encode_cbor({"gateway_principal": GATEWAY.principal})
    (send,) = session.receive(handshake, now_ns=NOW_NS)
    assert isinstance(send, Send)
    network.call(send.frame)
    (open_message,) = network.frames()
    assert [type(event) for event in session.receive(payload_of(open_message), now_ns=NOW_NS)] == [Opened]
    network.call(session.send(b"hello".ljust(16), now_ns=NOW_NS).frame)
    (echo,) = network.frames(1)
    (received,) = session.receive(payload_of(echo), now_ns=NOW_NS)
    assert isinstance(received, Received)
    assert received.content == b"hello".ljust(16)


def test_messages_are_invisible_until_the_block() -> None:
    network = Network()
    opened(network)
    request = network.verifier.open_envelope(message(0), now_ns=NOW_NS)
    replies: list[bytes] = []
    network.replica.call(request.body, 3, replies.append)
    assert network.is_empty(1)
    assert not replies
    network.replica.block()
    assert not network.is_empty(1)
    assert len(replies) == 1


def test_one_signature_certifies_all_calls_of_a_block() -> None:
    network = Network()
    opened(network)
    replies: list[bytes] = []
    for number in range(5):
        request = network.verifier.open_envelope(message(number), now_ns=NOW_NS)
        network.replica.call(request.body, 3, replies.append)
    network.replica.block()
    bodies = [decode_cbor(reply) for reply in replies]
    signatures = {decode_cbor(body["certificate"])["signature"] for body in bodies if isinstance(body, dict)}  # type: ignore[index, call-overload]
    assert len(replies) == 5
    assert len(signatures) == 1


def test_a_repeated_call_is_executed_once() -> None:
    network = Network()
    opened(network)
    frame = message(0)
    network.call(frame)
    network.call(frame)
    assert len(network.frames(1)) == 1
    assert network.replica.served.duplicate_calls == 1


def test_a_sink_answers_nothing() -> None:
    network = Network()
    network.replica.response = "none"
    opened(network)
    network.call(message(0))
    assert network.is_empty(1)


@settings(max_examples=20)  # each makes keys and signatures
@given(st.integers(1, 5), st.integers(1, 8), st.booleans(), st.integers(1, 4))
def test_prepared_pages_hold_every_message_once_and_in_order(
    pages: int, page_size: int, shared: bool, clients: int
) -> None:
    network = Network()
    for number in range(clients):
        opened(network, LoadIdentity(b"seed", number))
    canister = network.replica.canister(CANISTER)
    canister.page_size = page_size
    count = canister.prepare(
        pages, 50, lambda data: network.replica.certify(CANISTER, data), shared=shared, timestamp_ns=NOW_NS
    )
    assert count == pages * page_size
    assert network.is_empty(clients), "they are hidden until they are released"
    canister.release()
    verifier, numbers = network.verifier, []
    for frame in network.frames(clients):
        opened_message = verifier.open_message(payload_of(frame), CANISTER, generation=2, now_ns=NOW_NS)
        numbers.append(Tail.of(opened_message.content).number)
    assert numbers == list(range(count))
    assert verifier.cache_misses == 1 + (1 if shared else pages), "the delegation is a certificate, too"


@pytest.mark.parametrize("shared", [True, False])
def test_a_message_after_prepared_pages_verifies(shared: bool) -> None:
    network = Network()
    opened(network)
    canister = network.replica.canister(CANISTER)
    canister.page_size = 3
    canister.prepare(2, 50, lambda data: network.replica.certify(CANISTER, data), shared=shared, timestamp_ns=NOW_NS)
    canister.release()
    network.call(message(0))
    assert len(network.frames(1)) == 7
    assert len(network.frames(2)) == 6, "a poll that begins within a page"


def test_another_gateway_gets_a_queue_of_its_own() -> None:
    network = Network()
    opened(network)
    network.call(message(0))
    network.gateway = Principal.self_authenticating(b"the next gateway")
    network.call(payload_of(opening_frame(CLIENT, CANISTER, network.gateway, NOW_NS)))
    assert len(network.frames()) == 1


def test_another_root_key_does_not_verify() -> None:
    network = Network()
    opened(network)
    other = Network(replica=StubReplica(seed=bytes(31) + b"1", clock=lambda: NOW_NS))
    with pytest.raises(CertificateError):
        other.verifier.open_poll_reply(network.poll(), CANISTER, generation=2, now_ns=NOW_NS, gateway=None)


def test_read_state_shows_the_status_of_a_call() -> None:
    network = Network()
    opened(network)
    request_id = network.replica._known[0]
    request = sign_request(GATEWAY, "read_state", now_ns=NOW_NS, paths=[[b"request_status", request_id]])
    reply = decode_cbor(network.replica.read_state(request.body, 2))
    assert isinstance(reply, dict)
    tree = network.verifier.verify_certificate(reply["certificate"], CANISTER, now_ns=NOW_NS)
    assert tree.lookup([b"request_status", request_id, b"status"]) == b"replied"


def test_request_statuses_are_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_CALLS > 3
    monkeypatch.setattr("appliance.bench.stub.replica.KEPT_CALLS", 3)
    network = Network()
    opened(network)
    for number in range(6):
        network.call(message(number))
    network.replica.block()
    assert len(network.replica._known) == len(network.replica._executed) == 3


@pytest.mark.parametrize("body", [b"", b"\xa0", encode_cbor({"content": 1}), encode_cbor({"content": {}})])
def test_what_is_no_request_is_malformed(body: bytes) -> None:
    replica = Network().replica
    with pytest.raises(Malformed):
        replica.call(body, 3, lambda _: None)
    with pytest.raises(Malformed):
        replica.query(body, 3)
    with pytest.raises(Malformed):
        replica.read_state(body, 3)
