from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import encode_cbor
from appliance.gateway.polling.queue_position import Cursor
from appliance.protocol.frames import binary_frame


@dataclass
class Message:
    nonce: int
    client_key: bytes = b"client"
    content: bytes = b"content"
    cert: bytes = b""

    @property
    def frame(self):
        value = {"key": str(self.nonce), "content": self.content, "cert": self.cert, "tree": b""}
        return binary_frame(encode_cbor(value, tagged=False))


@dataclass
class Reply:
    messages: list[Message]
    time_ns: int | None = 2


def behind(*messages):
    cursor = Cursor(time_ns=1)
    for message in messages:
        cursor.take(message)
    return cursor


@given(st.lists(st.integers(0, 30)))
def test_every_nonce_once_and_never_back(nonces):
    cursor = Cursor()
    taken = []
    for nonce in nonces:
        before = cursor.next_nonce
        verdict = cursor.take(Message(nonce))
        assert cursor.next_nonce >= before
        assert (verdict == "repeated") == (nonce < before)
        assert (verdict == "gap") == (nonce > before and bool(taken))
        if verdict != "repeated":
            taken.append(nonce)
    assert taken == sorted(set(taken))


def test_a_new_queue_with_something_for_a_client_that_waits_is_a_restart():
    cursor = behind(Message(0), Message(1))
    reply = Reply([Message(0, b"new", b"hello")])
    assert cursor.begins_anew(reply, {b"new"})
    assert not cursor.begins_anew(reply, {b"other"})
    assert not cursor.begins_anew(Reply(reply.messages, time_ns=1), {b"new"})


def test_a_queue_as_long_as_the_old_one_is_told_apart_by_its_content():
    cursor = behind(Message(0, content=b"then"))
    assert cursor.begins_anew(Reply([Message(0, content=b"now")]), {b"client"})
    assert not cursor.begins_anew(Reply([Message(0, content=b"then", cert=b"another")]), {b"client"})


def test_a_queue_that_goes_on_is_none():
    cursor = behind(Message(0))
    assert not cursor.begins_anew(Reply([Message(0, content=b"now"), Message(1)]), {b"client"})
    assert not cursor.begins_anew(Reply([]), {b"client"})


def test_a_queue_that_was_empty_is_read_from_its_beginning():
    cursor, tail = Cursor(), Reply([Message(5), Message(6)])
    assert not cursor.skipped(tail)
    assert not cursor.skipped(Reply([]))
    assert cursor.skipped(tail)
    assert not cursor.skipped(Reply([Message(0), Message(1)]))
    cursor.take(Message(1))
    assert not cursor.skipped(tail)


@given(st.integers(0, 1 << 63))
def test_following_and_restarting_lead_to_the_nonce_that_is_named(nonce):
    cursor = behind(Message(3), Message(4))
    cursor.follow(nonce)
    assert cursor.next_nonce == nonce
    cursor.restart(nonce)
    assert cursor.take(Message(nonce)) == "next"
