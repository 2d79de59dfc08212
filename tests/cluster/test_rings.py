import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.rings import MAX_BYTES, Waiting, decode, encode
from appliance.errors import Malformed

SENDER = b"12345678"
IDS = st.binary(min_size=1, max_size=29)


@given(st.lists(IDS, max_size=50))
def test_what_is_rung_is_heard(ids: list[bytes]) -> None:
    assert decode(encode(SENDER, ids)) == (SENDER, ids)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(message: bytes) -> None:
    try:
        sender, ids = decode(message)
    except Malformed:
        return
    assert encode(sender, ids) == message


@pytest.mark.parametrize(
    "message", [b"", b"1234567", SENDER + b"\x00", SENDER + b"\x1e" + b"x" * 30, SENDER + b"\x05x"]
)
def test_what_is_no_doorbell_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        decode(message)


def test_a_message_has_a_bound() -> None:
    with pytest.raises(Malformed, match="bytes"):
        decode(SENDER + b"\x01x" * MAX_BYTES)


@given(st.lists(IDS, max_size=30))
def test_each_canister_is_rung_for_once_and_none_is_forgotten(ids: list[bytes]) -> None:
    waiting = Waiting()
    for each in ids:
        waiting.add(each)
    assert len(waiting) == len(set(ids))
    heard = decode(waiting.take(SENDER))[1]
    assert heard == list(dict.fromkeys(ids))
    assert not waiting


def test_more_than_fits_into_one_message_goes_into_several() -> None:
    waiting, ids = Waiting(), [number.to_bytes(10, "big") for number in range(1, 5001)]
    for each in ids:
        waiting.add(each)
    heard = list[bytes]()
    while waiting:
        message = waiting.take(SENDER)
        assert len(message) <= MAX_BYTES
        heard += decode(message)[1]
    assert heard == ids
    waiting.add(b"x")
    waiting.clear()
    assert not waiting
