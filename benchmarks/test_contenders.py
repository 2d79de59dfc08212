"""The native functions beside the packages that could do the same: PyNaCl, cbor2, ic-py.

``pip install '.[bench]'`` installs them; what is missing is skipped. Each group does the same work on the same bytes.
ic-py verifies no certificates: it decodes them and looks values up, which is what is measured of it.
"""

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from appliance.crypto import (
    CandidTypes,
    SigningKey,
    Verifier,
    decode_cbor,
    encode_cbor,
    hash_of_value,
    read_poll_reply_unverified,
    verify_signature,
)
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from benchmarks.test_native import poll_reply
from tests.native.canister import CANISTER, NOW_NS, SECRET, certificate

ED25519 = bytes(range(32))
TEXT = b"\x0aic-request" + bytes(32)
KEY = SigningKey.from_secret("ed25519", ED25519)
CALL = {
    "request_type": "call",
    "canister_id": bytes(CANISTER),
    "method_name": "ws_message",
    "arg": b"a" * 200,
    "ingress_expiry": NOW_NS,
}
MESSAGE = {"key": "k" * 84, "content": b"c" * 1100, "cert": b"c" * 900, "tree": b"t" * 300}
ARG = "record {client_nonce: nat64; content: blob}"
ARG_VALUE = {"client_nonce": 7, "content": bytes(1000)}


def package(name: str) -> Any:
    """Import it, or skip the test and say how to get it."""
    return pytest.importorskip(name, reason=f"{name} is not installed; pip install '.[bench]' installs it")


def ic_identity() -> Any:
    return package("ic.identity").Identity(privkey=ED25519.hex())


def ic_types() -> Any:
    types = package("ic.candid").Types
    return types.Record({"client_nonce": types.Nat64, "content": types.Vec(types.Nat8)})


# --- Ed25519 --------------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="sign, Ed25519")
def test_sign_native(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(KEY.sign, TEXT)) == 64


@pytest.mark.benchmark(group="sign, Ed25519")
def test_sign_pynacl(benchmark: BenchmarkFixture) -> None:
    key = package("nacl.signing").SigningKey(ED25519)
    assert benchmark(key.sign, TEXT).signature == KEY.sign(TEXT)


@pytest.mark.benchmark(group="sign, Ed25519")
def test_sign_ic_py(benchmark: BenchmarkFixture) -> None:
    assert bytes(benchmark(ic_identity().sign, TEXT)[1]) == KEY.sign(TEXT)


@pytest.mark.benchmark(group="verify, Ed25519")
def test_verify_native(benchmark: BenchmarkFixture) -> None:
    benchmark(verify_signature, KEY.public_key, KEY.sign(TEXT), TEXT)


@pytest.mark.benchmark(group="verify, Ed25519")
def test_verify_pynacl(benchmark: BenchmarkFixture) -> None:
    key = package("nacl.signing").VerifyKey(KEY.public_key[-32:])
    assert benchmark(key.verify, TEXT, KEY.sign(TEXT)) == TEXT


@pytest.mark.benchmark(group="verify, Ed25519")
def test_verify_ic_py(benchmark: BenchmarkFixture) -> None:
    assert benchmark(ic_identity().verify, TEXT, KEY.sign(TEXT))


# --- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="hash a request")
def test_request_id_native(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(hash_of_value, CALL)) == 32


@pytest.mark.benchmark(group="hash a request")
def test_request_id_ic_py(benchmark: BenchmarkFixture) -> None:
    assert bytes(benchmark(package("ic.utils").to_request_id, CALL)) == hash_of_value(CALL)


@pytest.mark.benchmark(group="sign a call")
def test_sign_call_native(benchmark: BenchmarkFixture) -> None:
    def sign() -> Any:
        arg = b"a" * 200
        return sign_request(identity, "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="ws_message", arg=arg)

    identity = KeyIdentity(KEY)
    assert benchmark(sign).body


@pytest.mark.benchmark(group="sign a call")
def test_sign_call_ic_py(benchmark: BenchmarkFixture) -> None:
    identity = ic_identity()
    request = {**CALL, "sender": identity.sender().bytes}
    assert benchmark(package("ic.agent").sign_request, request, identity)


# --- CBOR -----------------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="encode CBOR, a message")
def test_encode_native(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_cbor, MESSAGE)


@pytest.mark.benchmark(group="encode CBOR, a message")
def test_encode_cbor2(benchmark: BenchmarkFixture) -> None:
    assert benchmark(package("cbor2").dumps, MESSAGE) == encode_cbor(MESSAGE, tagged=False)


@pytest.mark.benchmark(group="decode CBOR, a message")
def test_decode_native(benchmark: BenchmarkFixture) -> None:
    assert benchmark(decode_cbor, encode_cbor(MESSAGE)) == MESSAGE


@pytest.mark.benchmark(group="decode CBOR, a message")
def test_decode_cbor2(benchmark: BenchmarkFixture) -> None:
    assert benchmark(package("cbor2").loads, encode_cbor(MESSAGE, tagged=False)) == MESSAGE


# --- Candid ---------------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="encode Candid, 1 kB")
def test_candid_encode_native(benchmark: BenchmarkFixture) -> None:
    assert benchmark(CandidTypes(f"({ARG})").encode, ARG_VALUE)


@pytest.mark.benchmark(group="encode Candid, 1 kB")
def test_candid_encode_ic_py(benchmark: BenchmarkFixture) -> None:
    value = {"client_nonce": 7, "content": list(bytes(1000))}
    encoded = benchmark(package("ic.candid").encode, [{"type": ic_types(), "value": value}])
    assert CandidTypes(f"({ARG})").decode(bytes(encoded)) == (ARG_VALUE,)


@pytest.mark.benchmark(group="decode Candid, 1 kB")
def test_candid_decode_native(benchmark: BenchmarkFixture) -> None:
    types = CandidTypes(f"({ARG})")
    assert benchmark(types.decode, types.encode(ARG_VALUE)) == (ARG_VALUE,)


@pytest.mark.benchmark(group="decode Candid, 1 kB")
def test_candid_decode_ic_py(benchmark: BenchmarkFixture) -> None:
    data, types = CandidTypes(f"({ARG})").encode(ARG_VALUE), ic_types()
    (decoded,) = benchmark(package("ic.candid").decode, data, types)
    assert decoded["value"]["client_nonce"] == 7


@pytest.mark.benchmark(group="decode a poll reply of 50 messages, unverified")
def test_poll_reply_native(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(read_poll_reply_unverified, poll_reply(50), generation=2).messages) == 50


@pytest.mark.benchmark(group="decode a poll reply of 50 messages, unverified")
def test_poll_reply_ic_py(benchmark: BenchmarkFixture) -> None:
    (decoded,) = benchmark(package("ic.candid").decode, poll_reply(50))
    assert decoded["value"]


# --- certificates ---------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="look up in a certificate")
def test_certificate_verified_native(benchmark: BenchmarkFixture) -> None:
    data = certificate(b"d" * 32)

    def verify(verifier: Verifier) -> object:
        return verifier.verify_certificate(data, CANISTER, now_ns=NOW_NS).lookup([b"time"])

    benchmark.pedantic(verify, setup=lambda: ((Verifier(SECRET.public_key),), {}), rounds=200)


@pytest.mark.benchmark(group="look up in a certificate")
def test_certificate_unverified_ic_py(benchmark: BenchmarkFixture) -> None:
    lookup, loads = package("ic.certificate").lookup, package("cbor2").loads
    data = certificate(b"d" * 32).removeprefix(b"\xd9\xd9\xf7")
    assert benchmark(lambda: lookup([b"time"], loads(data)))
