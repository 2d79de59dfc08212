"""The parser of frames understands every stream of bytes as the ``websockets`` library does, and keeps next to nothing
in between.
"""

import gc
import itertools
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from appliance.gateway.sockets.frame_parser import FrameParser

LIMIT = 300
DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Library(ServerProtocol):
    """What the parser is compared with: the library's protocol, but for the two things that it judges otherwise."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None  # it calls a fault what RFC 6455 section 5.4 allows
        super().recv_frame(frame)

    def problem(self) -> str | None:
        error = self.parser_exc
        if isinstance(error, UnicodeDecodeError):
            return f"{error.reason} at position {error.start}"  # as its close frame says it
        return None if error is None else str(error)


def parser(limit: int = LIMIT) -> FrameParser:
    found = FrameParser(limit)
    found.opened(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    found.data_to_send()
    return found


def library(limit: int = LIMIT) -> Library:
    return Library(state=State.OPEN, max_size=limit)


def seen(it: FrameParser | Library) -> tuple[object, ...]:
    """All that a connection may see of a protocol: the frames of messages, what is to be written, and how it ended."""
    frames = [(each.opcode, bytes(each.data), each.fin) for each in it.events_received() if each.opcode in DATA]
    ends = it.close_sent, it.close_rcvd, it.eof_sent, it.close_expected()
    return frames, list(it.data_to_send()), it.state, ends


def frame_bytes(
    head: int, payload: bytes, *, is_masked: bool = True, width: int | None = None, key: bytes = b"\1\2\3\4"
) -> bytes:
    """A frame with any first byte, and with its length in 0, 2 or 8 further bytes, even where fewer would do."""
    length = len(payload)
    least = 0 if length < 126 else 2 if length < 1 << 16 else 8
    width = least if width is None else max(width, least)
    mask = 0x80 if is_masked else 0
    size = bytes([mask | {0: length, 2: 126, 8: 127}[width]]) + (length.to_bytes(width, "big") if width else b"")
    data = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if is_masked else payload
    return bytes([head]) + size + (key if is_masked else b"") + data


close_payloads = st.one_of(
    st.just(b""),
    st.binary(max_size=3),
    st.builds(lambda code, text: code.to_bytes(2, "big") + text, st.integers(990, 5010), st.binary(max_size=20)),
    st.builds(lambda text: b"\x03\xe8" + text.encode(), st.text(max_size=20)),
)
valid = st.one_of(
    st.builds(frame_bytes, st.sampled_from([0x01, 0x81, 0x02, 0x82, 0x00, 0x80]), st.binary(max_size=140)),
    st.builds(frame_bytes, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125)),
)
odd = st.one_of(
    st.builds(frame_bytes, st.just(0x88), close_payloads),
    st.builds(frame_bytes, st.integers(0, 255), st.binary(max_size=125), is_masked=st.booleans()),
    st.builds(frame_bytes, st.just(0x82), st.integers(280, 320).map(bytes)),
    st.builds(frame_bytes, st.sampled_from([0x82, 0x89]), st.binary(max_size=9), width=st.sampled_from([0, 2, 8])),
    st.binary(max_size=12),
)


def is_judged_otherwise(data: bytes) -> bool:
    """Whether a stream has a control frame that is too long: the library waits for the whole of it, or calls it too
    large for a message, and the parser refuses its head at once.
    """
    return any(first & 0x0F >= 8 and second & 0x7F > 125 for first, second in itertools.pairwise(data))


@given(st.lists(st.one_of(valid, valid, odd), max_size=8), st.lists(st.integers(0, 1 << 12), max_size=6), st.data())
def test_a_stream_means_what_it_means_to_the_library(frames, cuts, more):
    data = b"".join(frames)
    ours, theirs = parser(), library()
    closes_at = more.draw(st.one_of(st.none(), st.integers(0, len(cuts))))
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for number, (begin, end) in enumerate(itertools.pairwise(places)):
        if number == closes_at and theirs.state is State.OPEN:
            for it in (ours, theirs):
                it.send_close(4008, "enough")
        for it in (ours, theirs):
            it.receive_data(data[begin:end])
        if ours.eof_sent and not theirs.eof_sent:
            # It refuses a frame by its head, the library by its end: nothing that comes can mend that frame.
            theirs.receive_data(data[end:] + bytes(1 << 16))
            assert ours.close_sent == theirs.close_sent
            assert ours.problem == theirs.problem()
            return
        if is_judged_otherwise(data[:end]):
            return
        assert seen(ours) == seen(theirs)
        assert ours.problem == theirs.problem()
    for it in (ours, theirs):
        it.receive_eof()
        it.receive_eof()
    assert seen(ours) == seen(theirs)
    assert (ours.problem is None) == (theirs.problem() is None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("step", [1 << 14, 1 << 22])
def test_a_frame_of_any_size_comes_as_it_was_sent(size, step):
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    data = Frame(Opcode.BINARY, payload).serialize(mask=True) + Frame(Opcode.PING, b"?").serialize(mask=True)
    it, found = parser(size), []
    for at in range(0, len(data), step):
        it.receive_data(data[at : at + step])
        found += it.events_received()
    assert [(frame.opcode, frame.data, frame.fin) for frame in found] == [(Opcode.BINARY, payload, True)]
    assert list(it.data_to_send()) == [Frame(Opcode.PONG, b"?").serialize(mask=False)]


def test_a_ping_passes_within_a_message_that_fills_its_limit():
    it = parser(10)
    it.receive_data(Frame(Opcode.BINARY, bytes(9), fin=False).serialize(mask=True))
    it.receive_data(Frame(Opcode.PING, b"still there?").serialize(mask=True))
    it.receive_data(Frame(Opcode.CONT, bytes(1)).serialize(mask=True))
    assert list(it.data_to_send()) == [Frame(Opcode.PONG, b"still there?").serialize(mask=False)]
    assert len(it.events_received()) == 2
    assert it.problem is None


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"\x89\xfe\x01\x00", "control frame too long"),
        (b"\x09\x80", "fragmented control frame"),
        (b"\xc2\x80", "reserved bits must be 0"),
        (b"\x83\x80", "invalid opcode"),
        (b"\x82\x00", "incorrect masking"),
    ],
)
def test_a_frame_is_refused_by_its_head(head, problem):
    it = parser()
    it.receive_data(head)
    assert it.problem == problem
    assert it.close_sent == Close(1002, problem)
    assert it.eof_sent


def test_a_limit_that_is_raised_holds_from_the_next_frame_on():
    it = parser(5)
    it.receive_data(Frame(Opcode.BINARY, bytes(5)).serialize(mask=True))
    it.limit(6)
    it.receive_data(Frame(Opcode.BINARY, bytes(6)).serialize(mask=True))
    assert [len(frame.data) for frame in it.events_received()] == [5, 6]
    it.receive_data(Frame(Opcode.BINARY, bytes(7)).serialize(mask=True))
    assert it.problem == "frame with 7 bytes exceeds limit of 6 bytes"
    assert it.close_sent is not None
    assert it.close_sent.code == 1009


def test_nothing_follows_a_rejection():
    it = FrameParser(LIMIT)
    it.rejected(b"HTTP/1.1 404 Not Found\r\n\r\n")
    it.receive_data(Frame(Opcode.PING, b"?").serialize(mask=True))
    assert list(it.data_to_send()) == [b"HTTP/1.1 404 Not Found\r\n\r\n", b""]
    assert it.close_expected()
    it.receive_eof()
    assert it.state is State.CLOSED


def test_between_two_frames_it_keeps_its_flags_and_nothing_else():
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        idle = [parser(1000) for _ in range(100)]
        for it in idle:
            for part, fin in ((Opcode.BINARY, False), (Opcode.CONT, True)):
                data = Frame(part, bytes(200), fin=fin).serialize(mask=True)
                it.receive_data(data[:50])
                it.receive_data(data[50:])
            it.receive_data(Frame(Opcode.PING, b"?").serialize(mask=True))
            it.events_received()
            it.data_to_send()
            del data
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(idle) < sys.getsizeof(idle[0]) + 64
