from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import _native
from appliance.errors import (
    CertificateError,
    CertificateFromFuture,
    CertificateSignatureInvalid,
    CertificateStale,
    CertifiedDataMismatch,
    GatewayError,
    Malformed,
    MessageNotCertified,
    PathAbsent,
    PathUnknown,
)
from appliance.ic.principal import Principal
from tests import vectors
from tests.native.canister import CANISTER, NOW_NS, Generation, Message, Reply, open_reply, verifier

VERDICTS: dict[str, tuple[type[GatewayError], ...]] = {
    "path_absent": (PathAbsent,),
    "content_hash_mismatch": (MessageNotCertified,),
    "tree_mismatch": (CertifiedDataMismatch,),
    "certified_data_unknown": (PathUnknown,),
    "bad_certificate_encoding": (Malformed,),
    "bad_certificate_signature": (CertificateSignatureInvalid,),
}
AGELESS_NS = 1 << 62


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame with a length of 16 bits."""
    assert frame[:2] == b"\x82\x7e"
    assert int.from_bytes(frame[2:4], "big") == len(frame) - 4
    return frame[4:]


def payload(generation: Generation = 2, message: Message | None = None) -> bytes:
    (polled,) = open_reply(Reply.of([message or Message(0)], generation)).messages
    return payload_of(polled.frame)


@given(
    st.sampled_from([0, 1, 2]),
    st.builds(
        Message,
        nonce=st.integers(0, 2**64 - 1),
        sequence_num=st.integers(0, 2**64 - 1),
        content=st.binary(),
        is_service_message=st.booleans(),
        client_nonce=st.integers(0, 2**64 - 1),
        tagged=st.booleans(),
    ).filter(lambda message: NOW_NS + message.nonce < 2**64),
)
def test_a_client_opens_what_the_canister_certified(generation: Generation, message: Message) -> None:
    data = payload(generation, message)
    opened = verifier().open_message(data, CANISTER, generation=generation, now_ns=NOW_NS)
    assert opened.key == message.key
    assert opened.client_key == message.client_key(generation)
    assert (opened.sequence_num, opened.content) == (message.sequence_num, message.content)
    assert (opened.timestamp_ns, opened.certified_at_ns) == (NOW_NS + message.nonce, NOW_NS)
    assert opened.is_service_message is (message.is_service_message and generation != 0)


PAYLOADS = {generation: payload(generation) for generation in (0, 1, 2)}


@given(st.sampled_from([0, 1, 2]), st.data())
def test_one_byte_changed_anywhere_is_refused(generation: Generation, data: st.DataObject) -> None:
    changed = bytearray(PAYLOADS[generation])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CertificateError, Malformed)):
        verifier().open_message(bytes(changed), CANISTER, generation=generation, now_ns=NOW_NS)


@given(st.integers(0, len(PAYLOADS[2]) - 1))
def test_a_message_cut_short_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        verifier().open_message(PAYLOADS[2][:length], CANISTER, generation=2, now_ns=NOW_NS)


def test_another_canister_another_time_another_generation() -> None:
    def open_at(now_ns: int = NOW_NS, canister: bytes = CANISTER, generation: Generation = 2) -> None:
        verifier().open_message(PAYLOADS[2], canister, generation=generation, now_ns=now_ns)

    open_at()
    open_at(generation=1)  # the same on the wire
    with pytest.raises(PathAbsent):
        open_at(canister=b"\0" * 10)
    with pytest.raises(CertificateStale):
        open_at(NOW_NS + 301 * 10**9)
    with pytest.raises(CertificateFromFuture):
        open_at(NOW_NS - 301 * 10**9)
    with pytest.raises(Malformed, match="val"):
        open_at(generation=0)
    with pytest.raises(ValueError, match="generation 3"):
        open_at(generation=3)  # type: ignore[arg-type]


def open_vector(case: dict[str, Any], root_key: str, generation: Generation, now_ns: int) -> _native.CertifiedMessage:
    content = "val" if generation == 0 else "content"
    frame = {"key": case["key"], content: bytes.fromhex(case["content"])}
    frame |= {name: bytes.fromhex(case[name]) for name in ("cert", "tree")}
    canister = Principal.from_text(case["canister_id"])
    checker = _native.Verifier(bytes.fromhex(root_key))
    data = _native.encode_cbor(frame, tagged=False)
    return checker.open_message(data, canister, generation=generation, now_ns=now_ns)


def test_messages_of_real_canisters_v2() -> None:
    data = vectors.load_json("websocket/certified_messages.json")
    assert len(data["v2"]) == 5
    for case in data["v2"]:
        now_ns = int(case["certificate_time_ns"])
        if case["verdict"] != "valid":
            with pytest.raises(VERDICTS[case["verdict"]]):
                open_vector(case, data["v2_root_key_der"], 2, now_ns)
            continue
        opened = open_vector(case, data["v2_root_key_der"], 2, now_ns)
        expected = case["decoded"]
        assert opened.key == case["key"]
        assert opened.certified_at_ns == now_ns
        assert opened.client_key[:-8].hex() == expected["client_principal"]
        assert int.from_bytes(opened.client_key[-8:], "big") == expected["client_nonce"]
        assert opened.sequence_num == expected["sequence_num"]
        assert opened.timestamp_ns == expected["timestamp"]
        assert opened.is_service_message is expected["is_service_message"]
        assert opened.content.hex() == expected["content"]


def test_messages_of_real_canisters_v0() -> None:
    data = vectors.load_json("websocket/certified_messages.json")
    now_ns = data["v0_certificate_time_ns"]
    assert [case["verdict"] for case in data["v0"]].count("valid") == 1
    assert len(data["v0"]) == 7
    for case in data["v0"]:
        if case["verdict"] == "valid":
            opened = open_vector(case, case["root_key_der"], 0, now_ns)
            assert (opened.key, opened.sequence_num, len(opened.client_key)) == (case["key"], 1, 32)
        else:
            with pytest.raises(VERDICTS[case["verdict"]]):
                open_vector(case, case["root_key_der"], 0, now_ns)


@pytest.mark.parametrize(
    ("session", "generation", "count"),
    [("62dcec3", 0, 2), ("0.1.2", 1, 4), ("0.4.1", 2, 4), ("0.5.0", 2, 4)],
)
def test_sessions_of_real_clients(session: str, generation: Generation, count: int) -> None:
    captured = vectors.load_json(f"websocket/session_{session}.json")
    checker = _native.Verifier(bytes.fromhex(captured["root_key_der"]), max_age_ns=AGELESS_NS, max_ahead_ns=AGELESS_NS)
    frames = [
        bytes.fromhex(frame["hex"])
        for frame in captured["frames"]
        if frame["dir"] == "gateway->client" and frame["kind"] == "WS binary" and frame["what"] != "handshake"
    ]
    opened = [checker.open_message(frame, CANISTER, generation=generation, now_ns=NOW_NS) for frame in frames]
    assert [message.sequence_num for message in opened] == list(range(1, count + 1))
    assert {message.client_key for message in opened} == {client_key_of(captured, generation)}
    if generation:
        assert [message.is_service_message for message in opened] == [True, False, True, True]


def client_key_of(captured: dict[str, Any], generation: Generation) -> bytes:
    for frame in captured["frames"]:
        if frame["dir"] == "client->gateway":
            if generation == 0:
                return bytes.fromhex(frame["client_key"])
            nonce = int(frame["decoded"]["client_nonce"])
            return bytes.fromhex(frame["sender"]) + nonce.to_bytes(8, "big")
    raise AssertionError
