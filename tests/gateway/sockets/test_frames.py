"""Frames are cut where they end, whatever their sizes and however they come."""

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from appliance.gateway.sockets.frames import FrameSplitter
from tests.gateway.served import served
from tests.gateway.sockets.test_connection import BINARY, CLOSE, CONTINUE, PING, PONG

SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000])
frames = st.builds(
    lambda opcode, size, mask: Frame(opcode, bytes(min(size, 125 if opcode is Opcode.CLOSE else size))).serialize(
        mask=mask
    ),
    st.sampled_from([Opcode.BINARY, Opcode.CONT, Opcode.CLOSE]),
    SIZES,
    st.booleans(),
)


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 1 << 18), max_size=8), st.integers(1, 5))
def test_parts_are_the_stream_and_have_no_more_frames_than_wanted(stream, cuts, most):
    data = b"".join(stream)
    starts = list(itertools.accumulate(map(len, stream), initial=0))
    ends = set(starts[1:])
    closes = {start for start, frame in zip(starts, stream, strict=False) if frame[0] & 0x0F == Opcode.CLOSE}
    splitter, taken, begun = FrameSplitter(), b"", 0
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        splitter.feed(data[start:end])
        while splitter.is_ready:
            ahead = next(splitter.ahead(most), 0)
            part = splitter.take(most)
            taken += part.data
            begun += part.frames
            assert part.data
            assert part.frames <= ahead <= most, "a close frame ends a part early"
            assert part.frames <= most
            assert len(taken) in ends or not splitter.is_ready
            assert not any(len(taken) - len(part.data) < start < len(taken) for start in closes)
        assert len(splitter) == end - len(taken) < 10  # less than a header, without which there is no cutting
    assert taken == data
    assert begun == len(stream)


@given(st.lists(frames, max_size=8), st.binary(min_size=1, max_size=9), st.integers(1, 5))
def test_frames_are_counted_ahead(stream, rest, most):
    splitter = FrameSplitter()
    splitter.feed(b"".join(stream))
    counts = list(splitter.ahead(most))
    assert sum(counts) == len(stream)
    assert all(count == most for count in counts[:-1])
    splitter.feed(rest)
    counts = list(splitter.ahead(1))
    begun = 0
    while splitter.is_ready:
        begun += splitter.take(most).frames
    assert len(counts) == begun


@given(st.binary(max_size=2000), st.integers(1, 7))
def test_any_bytes_come_to_an_end(data, most):
    splitter = FrameSplitter()
    splitter.feed(data)
    taken = 0
    while splitter.is_ready:
        part = splitter.take(most)
        assert part.data
        taken += len(part.data)
    assert taken + len(splitter) == len(data)


@given(st.lists(frames, min_size=1, max_size=3), st.integers(1, 5))
def test_a_read_is_not_kept_when_all_of_it_was_taken(stream, most):
    data = b"".join(stream)
    splitter, alone = FrameSplitter(), sys.getrefcount(data)
    splitter.feed(data)
    assert sys.getrefcount(data) > alone
    while splitter.is_ready:
        splitter.take(most)
    assert sys.getrefcount(data) == alone


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9leaving in the middle"])
async def test_a_close_frame_in_the_middle_of_a_message_is_answered(payload):
    async with served() as it:
        raw = await it.upgraded()
        raw.send(BINARY, b"half of a")
        raw.send(CONTINUE, b" mess")
        raw.send(PING)
        raw.send(CLOSE, payload)
        assert await raw.frame() == (PONG, b"")
        assert await raw.frame() == (CLOSE, payload)
        await raw.end()
        await it.nobody()
        assert it.counters.closed.keys() <= {1000, 1001, 1005, 0}
