from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import encode_cbor
from appliance.errors import Malformed, SignatureInvalid, TooLarge
from tests.native.signing import VERIFIER, key


def first_message(number: int, canister_id: bytes) -> bytes:
    signer = key(number)
    content = encode_cbor({"canister_id": canister_id, "client_key": signer.public_key[-32:]})
    return encode_cbor({"content": content, "sig": signer.sign(content)})


def test_recorded_ones(vectors: ModuleType) -> None:
    file = vectors.load_json("websocket/first_messages.json")
    for case in file["cases"]:
        frame = case["frame_text"].encode() if "frame_text" in case else bytes.fromhex(case["frame_hex"])
        if case["verdict"] == "accept":
            opened = VERIFIER.open_first_message(frame)
            names = ("client_key", "canister_id", "content", "sig")
            assert opened == tuple(bytes.fromhex(file[name]) for name in names)
        else:
            with pytest.raises((Malformed, SignatureInvalid)):
                VERIFIER.open_first_message(frame)


def test_the_one_of_a_whole_session(vectors: ModuleType) -> None:
    frames = vectors.load_json("websocket/session_62dcec3.json")["frames"]
    (first,) = (frame for frame in frames if frame.get("what") == "first message")
    client_key, canister_id, content, signature = VERIFIER.open_first_message(bytes.fromhex(first["hex"]))
    assert (client_key.hex(), canister_id.hex()) == (first["client_key"], first["canister_id"])
    assert (content.hex(), signature.hex()) == (first["content"], first["sig"])


@given(number=st.integers(1, 1000), canister_id=st.binary(max_size=29), at=st.integers(0), bit=st.integers(0, 7))
def test_what_is_signed_opens_and_every_byte_counts(number: int, canister_id: bytes, at: int, bit: int) -> None:
    frame = first_message(number, canister_id)
    client_key, canister, _, _ = VERIFIER.open_first_message(frame)
    assert (client_key, canister) == (key(number).public_key[-32:], canister_id)
    at %= len(frame)
    with pytest.raises((Malformed, SignatureInvalid, TooLarge)):
        VERIFIER.open_first_message(frame[:at] + bytes([frame[at] ^ 1 << bit]) + frame[at + 1 :])


@given(st.binary(max_size=200))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises((Malformed, SignatureInvalid)):
        VERIFIER.open_first_message(junk)
