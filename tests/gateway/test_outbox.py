import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import SlowClient
from appliance.gateway.outbox import CONTROL_ROOM, Outbox


class Transport:
    """Full after each write, when told to be."""

    def __init__(self, outbox_limit: int) -> None:
        self.written: list[bytes] = []
        self.fills = False
        self.outbox = Outbox(self, outbox_limit)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self.fills:
            self.outbox.pause()


FRAMES = st.tuples(st.sampled_from([Outbox.put, Outbox.put_control]), st.binary(min_size=1, max_size=9))


@given(st.lists(FRAMES | st.sampled_from(["pause", "resume", "fill"]), max_size=40))
def test_order_is_kept_and_waiting_is_what_was_not_written(steps):
    transport = Transport(10_000)
    outbox = transport.outbox
    put = []
    for step in steps:
        if step == "pause":
            outbox.pause()
        elif step == "resume":
            outbox.resume()
        elif step == "fill":
            transport.fills = not transport.fills
        else:
            send, frame = step
            send(outbox, frame)
            put.append(frame)
        assert transport.written == put[: len(transport.written)]
        assert outbox.waiting == sum(map(len, put[len(transport.written) :]))
    transport.fills = False
    outbox.resume()
    assert transport.written == put


@pytest.mark.parametrize("send", [Outbox.put, Outbox.put_control])
def test_a_full_outbox_is_a_slow_client(send):
    outbox = Transport(10).outbox
    outbox.pause()
    send(outbox, b"x" * 10)
    with pytest.raises(SlowClient) as caught:
        send(outbox, b"y")
    assert (caught.value.waiting, caught.value.limit) == (11, 10)
    assert outbox.waiting == 10


def test_nothing_but_control_frames_after_the_seal():
    transport = Transport(10)
    transport.outbox.seal()
    transport.outbox.put(b"message")
    transport.outbox.put_control(b"close")
    assert transport.written == [b"close"]


def test_the_close_frame_fits_when_nothing_else_does():
    transport = Transport(10)
    outbox = transport.outbox
    outbox.pause()
    outbox.put(b"x" * 10)
    outbox.seal()
    for _ in range(100):
        outbox.put_control(b"c" * 100)
    assert outbox.waiting <= 10 + CONTROL_ROOM
    outbox.resume()
    assert transport.written[:2] == [b"x" * 10, b"c" * 100]


def test_dropping_makes_room_for_the_close_frame():
    transport = Transport(10)
    outbox = transport.outbox
    outbox.pause()
    outbox.put(b"x" * 10)
    outbox.seal(drop=True)
    outbox.put_control(b"close")
    assert outbox.waiting == 5
    outbox.resume()
    assert transport.written == [b"close"]


def test_a_transport_that_fills_again_gets_no_more():
    transport = Transport(10)
    outbox = transport.outbox
    outbox.pause()
    outbox.put(b"one")
    outbox.put(b"two")
    transport.fills = True
    outbox.resume()
    assert (transport.written, outbox.waiting) == ([b"one"], 3)


def test_the_end_comes_after_what_waits():
    transport = Transport(10)
    outbox = transport.outbox
    ended = []
    outbox.pause()
    outbox.put(b"last")
    outbox.finish(lambda: ended.append(list(transport.written)))
    assert not ended
    outbox.resume()
    assert ended == [[b"last"]]
    outbox.finish(lambda: ended.append([]))
    assert len(ended) == 2


class Account:
    """What is held, as the account of ``limits.memory`` has it."""

    def __init__(self) -> None:
        self.bytes = 0

    def hold(self, number: int) -> None:
        self.bytes += number


STEPS = st.one_of(
    FRAMES,
    st.tuples(st.just("pause"), st.integers(0, 9)),
    st.tuples(st.just("reserve"), st.integers(1, 9)),
    st.sampled_from([("resume",), ("release",), ("seal",), ("drop",)]),
)


@given(st.lists(STEPS, max_size=40))
def test_the_account_has_what_waits_and_what_fills_the_transport_until_the_end(steps):
    account, transport = Account(), Transport(50)
    outbox = Outbox(transport, 50, account)
    full = 0
    for step, *number in steps:
        with contextlib.suppress(SlowClient):
            match step:
                case "pause":
                    (full,) = number
                    outbox.pause(full)
                case "resume":
                    full = 0
                    outbox.resume()
                case "reserve":
                    outbox.reserve(*number)
                case "release":
                    outbox.release()
                case "seal":
                    outbox.seal()
                case "drop":
                    outbox.seal(drop=True)
                case send:
                    send(outbox, *number)
        assert account.bytes == outbox.waiting + full
        assert 0 <= outbox.waiting <= 50 + CONTROL_ROOM
    outbox.end()
    assert account.bytes == outbox.waiting == 0
