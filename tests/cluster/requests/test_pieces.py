from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.requests.pieces import (
    MAX_MESSAGE,
    PIECE_BYTES,
    Assembly,
    Forged,
    Piece,
    Request,
    opened,
    sealed,
)
from appliance.errors import Malformed
from tests.cluster.nodes import SEAL

SENDER, RECEIVER = b"sender..", b"receiver"
WHOLE = bytes(range(256)) * 300
NAMES = st.text(max_size=63).filter(lambda name: len(name.encode()) < 256)


def pieces(whole: bytes = WHOLE, number: int = 7, sender: bytes = SENDER) -> list[Piece]:
    return [
        opened(SEAL, each) for each in sealed(SEAL, "request", whole, sender=sender, receiver=RECEIVER, number=number)
    ]


def sealed_request(whole: bytes) -> Iterator[bytes]:
    return sealed(SEAL, "request", whole, sender=SENDER, receiver=RECEIVER, number=7)


@given(st.integers(0, 3 * PIECE_BYTES), st.randoms(use_true_random=False))
def test_the_whole_comes_of_its_pieces_in_any_order(size: int, random: object) -> None:
    whole, assembly = bytes(size), Assembly(2, 4 * PIECE_BYTES)
    parts = pieces(whole)
    random.shuffle(parts)  # type: ignore[attr-defined]
    *early, last = parts
    assert [assembly.add(each) for each in early * 2] == [None] * (2 * len(early))
    assert assembly.add(last) == whole
    assert len(assembly) == 0


@given(st.data())
def test_no_byte_of_a_message_can_be_changed(data: st.DataObject) -> None:
    message = bytearray(next(sealed_request(b"close them")))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Malformed, Forged)):
        opened(SEAL, bytes(message))


@given(st.binary(max_size=100))
def test_whatever_comes_from_elsewhere_is_refused(message: bytes) -> None:
    with pytest.raises((Malformed, Forged)):
        opened(SEAL, message)


def test_a_request_is_no_answer() -> None:
    message = next(sealed_request(b"x"))
    with pytest.raises(Forged):
        opened(SEAL, b"a" + message[1:])


def test_what_is_too_long_is_refused_before_its_seal_is_looked_at() -> None:
    with pytest.raises(Malformed):
        opened(None, b"q" + bytes(MAX_MESSAGE))  # type: ignore[arg-type]
    assert max(map(len, sealed_request(WHOLE))) <= MAX_MESSAGE


def test_a_whole_has_a_bound() -> None:
    with pytest.raises(Malformed, match="pieces"):
        Assembly(2, len(WHOLE) // 2).add(pieces()[0])


def test_of_more_wholes_than_there_may_be_the_oldest_is_given_up() -> None:
    assembly = Assembly(2, len(WHOLE))
    begun = [pieces(number=number) for number in range(3)]
    for each in begun:
        assembly.add(each[0])
    assert (len(assembly), assembly.given_up) == (2, 1)
    assert [assembly.add(each) for each in begun[2][1:]][-1] == WHOLE
    assert [assembly.add(each) for each in begun[0][1:]][-1] is None


@given(NAMES, NAMES, NAMES, st.binary())
def test_a_request_is_read_as_it_was_written(sender: str, receiver: str, kind: str, body: bytes) -> None:
    request = Request(sender, receiver, kind, body)
    assert Request.decode(request.encode()) == request


@given(st.binary(max_size=20))
def test_whatever_a_node_writes_is_read_or_refused(whole: bytes) -> None:
    with suppress(Malformed):
        assert Request.decode(whole).encode() == whole
