import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.requests.pieces import Forged
from appliance.cluster.rings import MAX_BYTES, OVERHEAD, Pause, Ring, Waiting, decode, encode, encode_pause
from appliance.cluster.seal import TAG_BYTES
from appliance.errors import Malformed
from tests.cluster.nodes import SEAL

SENDER = b"12345678"
IDS = st.binary(min_size=1, max_size=29)
NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, st.lists(IDS, max_size=50))
def test_what_is_rung_is_heard(number: int, ids: list[bytes]) -> None:
    assert decode(SEAL, encode(SEAL, SENDER, number, ids)) == Ring(SENDER, number, ids)


@given(NUMBERS, st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1), st.text(max_size=200))
def test_a_pause_is_heard_as_it_was_told(number: int, address: bytes, ms: int, url: str) -> None:
    pause = Pause(address, ms / 1000, url)
    assert decode(SEAL, encode_pause(SEAL, SENDER, number, pause)) == Ring(SENDER, number, [], pause)


@given(st.data())
def test_no_byte_of_a_pause_can_be_changed(data: st.DataObject) -> None:
    message = bytearray(encode_pause(SEAL, SENDER, 7, Pause(bytes(16), 5.0, "http://a")))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Forged):
        decode(SEAL, bytes(message))


@pytest.mark.parametrize("what", [b"", bytes(19), bytes(20) + b"\xff"])
def test_what_is_no_pause_is_refused(what: bytes) -> None:
    header = encode(SEAL, SENDER, 7, ())[TAG_BYTES:]
    with pytest.raises(Malformed, match="no pause"):
        decode(SEAL, SEAL.tag("pause", header, what) + header + what)


@given(st.binary(max_size=200))
def test_whatever_comes_from_elsewhere_is_refused(message: bytes) -> None:
    with pytest.raises((Malformed, Forged)):
        decode(SEAL, message)


@given(st.lists(IDS, min_size=1, max_size=5), st.data())
def test_no_byte_of_a_ring_can_be_changed(ids: list[bytes], data: st.DataObject) -> None:
    message = bytearray(encode(SEAL, SENDER, 7, ids))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Forged):
        decode(SEAL, bytes(message))


@pytest.mark.parametrize("ids", [b"\x00", b"\x1e" + b"x" * 30, b"\x05x"])
def test_what_is_no_doorbell_is_refused(ids: bytes) -> None:
    header = encode(SEAL, SENDER, 7, ())[TAG_BYTES:]
    with pytest.raises(Malformed):
        decode(SEAL, SEAL.tag("ring", header, ids) + header + ids)


def test_a_message_has_bounds() -> None:
    for size in (0, OVERHEAD - 1, MAX_BYTES + 1):
        with pytest.raises(Malformed, match="bytes"):
            decode(SEAL, bytes(size))


@given(st.lists(IDS, max_size=30))
def test_each_canister_is_rung_for_once_and_none_is_forgotten(ids: list[bytes]) -> None:
    waiting = Waiting()
    for each in ids:
        waiting.add(each)
    assert len(waiting) == len(set(ids))
    assert waiting.take() == list(dict.fromkeys(ids))
    assert not waiting


def test_more_than_fits_into_one_message_goes_into_several() -> None:
    waiting, ids = Waiting(), [number.to_bytes(10, "big") for number in range(1, 5001)]
    for each in ids:
        waiting.add(each)
    heard = list[bytes]()
    while waiting:
        message = encode(SEAL, SENDER, 1, waiting.take())
        assert len(message) <= MAX_BYTES
        heard += decode(SEAL, message).canister_ids
    assert heard == ids
    waiting.add(b"x")
    waiting.clear()
    assert not waiting
