"""The functions of the native core. "fresh" is what nobody has verified before, "seen" what the verifier remembers."""

from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from appliance.crypto import (
    BlsSecretKey,
    CandidTypes,
    HashTree,
    SigningKey,
    StateTree,
    Verifier,
    decode_cbor,
    encode_cbor,
    hash_of_value,
    read_poll_reply_unverified,
)
from appliance.ic.envelope import sign_request
from appliance.ic.identity import DelegatedIdentity, Identity, KeyIdentity, delegate
from tests.native.canister import CANISTER, CLIENT, GATEWAY, NOW_NS, SECRET, Message, Reply, certificate

ROUNDS = 200
OPEN_ARG = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
OPEN_VALUE = {"client_nonce": 7, "gateway_principal": GATEWAY}
SCHEMES = ["ed25519", "secp256k1", "prime256v1", "delegated"]


def identity(scheme: Any) -> Identity:
    if scheme != "delegated":
        return KeyIdentity(SigningKey.generate(scheme))
    root, session = KeyIdentity(SigningKey.generate("prime256v1")), KeyIdentity(SigningKey.generate("ed25519"))
    link = delegate(root, session.public_key, expiration_ns=NOW_NS + 10**15)
    return DelegatedIdentity(session, root.public_key, [link])


def frame(sender: Identity) -> bytes:
    request = sign_request(
        sender, "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="ws_open", arg=OPEN_ARG.encode(OPEN_VALUE)
    )
    return b"\xd9\xd9\xf7\xa1\x68envelope" + request.body.removeprefix(b"\xd9\xd9\xf7")


def poll_reply(messages: int) -> bytes:
    return Reply.of([Message(nonce, nonce + 1) for nonce in range(messages)]).encode()


def fresh(benchmark: BenchmarkFixture, run: Callable[[Verifier], object]) -> None:
    """Each round with a verifier that has seen nothing."""
    benchmark.pedantic(run, setup=lambda: ((Verifier(SECRET.public_key),), {}), rounds=ROUNDS)


# --- certificates ---------------------------------------------------------------------------------------------------


def test_verify_certificate_fresh(benchmark: BenchmarkFixture) -> None:
    data = certificate(b"d" * 32)
    fresh(benchmark, lambda verifier: verifier.verify_certificate(data, CANISTER, now_ns=NOW_NS))


def test_verify_certificate_seen(benchmark: BenchmarkFixture) -> None:
    data, verifier = certificate(b"d" * 32), Verifier(SECRET.public_key)
    assert benchmark(verifier.verify_certificate, data, CANISTER, now_ns=NOW_NS).time_ns == NOW_NS


def test_sign_state_root(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(SECRET.sign_root, b"d" * 32)) == 48


def test_derive_bls_key(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(BlsSecretKey.from_seed, b"s" * 32).public_key) == 133


# --- envelopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_open_envelope_fresh(benchmark: BenchmarkFixture, scheme: str) -> None:
    data = frame(identity(scheme))
    fresh(benchmark, lambda verifier: verifier.open_envelope(data, now_ns=NOW_NS))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_open_envelope_next_of_a_client(benchmark: BenchmarkFixture, scheme: str) -> None:
    sender, verifier = identity(scheme), Verifier(SECRET.public_key)
    frames = cycle([frame(sender) for _ in range(500)])
    assert benchmark(lambda: verifier.open_envelope(next(frames), now_ns=NOW_NS)).sender == sender.principal


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sign_request(benchmark: BenchmarkFixture, scheme: str) -> None:
    sender = identity(scheme)
    assert benchmark(frame, sender)


# --- polls and messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [1, 50])
def test_open_poll_reply_fresh(benchmark: BenchmarkFixture, messages: int) -> None:
    data = poll_reply(messages)
    fresh(
        benchmark,
        lambda verifier: verifier.open_poll_reply(data, CANISTER, generation=2, now_ns=NOW_NS, gateway=GATEWAY),
    )


@pytest.mark.parametrize("messages", [1, 50])
def test_open_poll_reply_seen(benchmark: BenchmarkFixture, messages: int) -> None:
    data, verifier = poll_reply(messages), Verifier(SECRET.public_key)
    reply = benchmark(verifier.open_poll_reply, data, CANISTER, generation=2, now_ns=NOW_NS, gateway=GATEWAY)
    assert len(reply.messages) == messages


@pytest.mark.parametrize("messages", [1, 50])
def test_read_poll_reply_unverified(benchmark: BenchmarkFixture, messages: int) -> None:
    assert len(benchmark(read_poll_reply_unverified, poll_reply(messages), generation=2).messages) == messages


def message_frame() -> bytes:
    """The payload of the frame that the gateway writes for one message of fifty."""
    opened = Verifier(SECRET.public_key).open_poll_reply(
        poll_reply(50), CANISTER, generation=2, now_ns=NOW_NS, gateway=GATEWAY
    )
    data = opened.messages[0].frame
    return data[{126: 4, 127: 10}.get(data[1], 2) :]


def test_open_message_fresh(benchmark: BenchmarkFixture) -> None:
    data = message_frame()
    fresh(benchmark, lambda verifier: verifier.open_message(data, CANISTER, generation=2, now_ns=NOW_NS))


def test_open_message_seen(benchmark: BenchmarkFixture) -> None:
    data, verifier = message_frame(), Verifier(SECRET.public_key)
    message = benchmark(verifier.open_message, data, CANISTER, generation=2, now_ns=NOW_NS)
    assert message.client_key.startswith(CLIENT)


# --- Candid, CBOR, trees --------------------------------------------------------------------------------------------


def test_candid_encode(benchmark: BenchmarkFixture) -> None:
    assert benchmark(OPEN_ARG.encode, OPEN_VALUE)


def test_candid_decode(benchmark: BenchmarkFixture) -> None:
    assert benchmark(OPEN_ARG.decode, OPEN_ARG.encode(OPEN_VALUE)) == (OPEN_VALUE,)


def test_cbor_encode(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_cbor, {"key": "k" * 84, "content": b"c" * 200, "cert": b"c" * 400, "tree": b"t" * 300})


def test_cbor_decode(benchmark: BenchmarkFixture) -> None:
    value = {"key": "k" * 84, "content": b"c" * 200, "cert": b"c" * 400, "tree": b"t" * 300}
    assert benchmark(decode_cbor, encode_cbor(value)) == value


def test_hash_of_value(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(hash_of_value, {"request_type": "call", "arg": b"a" * 100, "ingress_expiry": NOW_NS})) == 32


def big_tree() -> StateTree:
    tree = StateTree()
    for number in range(100_000):
        tree.set([b"websocket", b"%020d" % number], b"h" * 32)
    return tree


def test_state_tree_set_among_100_000_and_digest(benchmark: BenchmarkFixture) -> None:
    tree, numbers = big_tree(), count()

    def change() -> bytes:
        tree.set([b"websocket", b"%020d" % (next(numbers) % 100_000)], b"n" * 32)
        return tree.digest

    assert len(benchmark(change)) == 32


def test_state_tree_witness_of_50_among_100_000(benchmark: BenchmarkFixture) -> None:
    tree = big_tree()
    witness = benchmark(tree.witness_range, [b"websocket"], b"%020d" % 500, b"%020d" % 549)
    assert len(witness.children([b"websocket"])) == 50


def test_hash_tree_from_cbor_and_digest(benchmark: BenchmarkFixture) -> None:
    tree = StateTree()
    for number in range(50):
        tree.set([b"websocket", b"%020d" % number], b"h" * 32)
    data = tree.witness([[b"websocket"]]).to_cbor()
    assert benchmark(lambda: HashTree.from_cbor(data).digest) == tree.digest
