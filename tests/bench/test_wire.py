"""The fast ways to write and read a message, against the native core."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.wire import (
    LoadIdentity,
    Tail,
    address_of,
    certified_content,
    content_of,
    message_frame,
    opening_frame,
    sequence_of,
)
from appliance.crypto import BlsSecretKey, Verifier, decode_cbor, encode_cbor
from appliance.errors import Malformed
from appliance.ic.principal import Principal

CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
CLIENT = LoadIdentity(b"seed", 7)
NOW_NS = 1_800_000_000 * 10**9
VERIFIER = Verifier(BlsSecretKey.from_seed(bytes(32)).public_key)


def payload_of(frame: bytes) -> bytes:
    """The payload of a client's frame, whose mask is zero."""
    assert frame[1] & 0x80
    head = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    assert frame[head : head + 4] == bytes(4)
    return frame[head + 4 :]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2000))
def test_a_tail_comes_back(number: int, due_ns: int, size: int) -> None:
    content = Tail(number, due_ns).content(size)
    assert len(content) == max(16, size)
    assert Tail.of(content) == Tail(number, due_ns)


def test_a_content_without_a_tail_is_malformed() -> None:
    with pytest.raises(Malformed, match="15 bytes"):
        Tail.of(bytes(15))


@given(st.binary(max_size=400), st.integers(0, 2**64 - 1))
def test_address_and_sequence_number_are_read_without_decoding(content: bytes, sequence_num: int) -> None:
    certified = certified_content(CLIENT.client_key, sequence_num, content, NOW_NS, is_service=False)
    address = address_of(certified)
    assert sequence_of(address) == sequence_num
    assert bytes(CLIENT.identity.principal) in address
    decoded = decode_cbor(certified)
    assert isinstance(decoded, dict)
    assert (decoded["sequence_num"], decoded["content"]) == (sequence_num, content)


@given(st.binary(max_size=70_000), st.booleans(), st.permutations(["key", "content", "cert", "tree"]))
def test_the_content_is_found_in_any_layout(content: bytes, tagged: bool, order: list[str]) -> None:
    fields = {"key": "gateway_00000000000000000001", "content": content, "cert": b"c" * 300, "tree": b"t" * 30}
    assert content_of(encode_cbor({name: fields[name] for name in order}, tagged=tagged)) == content


def test_a_message_without_content_is_malformed() -> None:
    with pytest.raises(Malformed):
        content_of(encode_cbor({"key": "k", "cert": b""}))
    with pytest.raises(Malformed):
        sequence_of(b"no number")


@pytest.mark.parametrize("size", [16, 100, 1000, 70_000])
def test_frames_are_envelopes_that_verify(size: int) -> None:
    gateway = Principal.self_authenticating(b"gateway")
    opening = VERIFIER.open_envelope(payload_of(opening_frame(CLIENT, CANISTER, gateway, NOW_NS)), now_ns=NOW_NS)
    frame = message_frame(CLIENT, CANISTER, 1, Tail(0, 0).content(size), NOW_NS)
    message = VERIFIER.open_envelope(payload_of(frame), now_ns=NOW_NS)
    assert (opening.method_name, message.method_name) == ("ws_open", "ws_message")
    assert opening.sender == message.sender == CLIENT.identity.principal


def test_the_same_seed_and_number_give_the_same_client() -> None:
    assert LoadIdentity(b"seed", 7).key_bytes == CLIENT.key_bytes
    assert LoadIdentity(b"seed", 8).key_bytes != CLIENT.key_bytes != LoadIdentity(b"other", 7).key_bytes
