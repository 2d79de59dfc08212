"""Frames are cut out of a buffer wherever the bytes are split."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.load.frames import BINARY, frame_at
from appliance.protocol.frames import binary_frame


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), st.integers(0, 10**6))
def test_only_whole_frames_are_cut(sizes: list[int], cut: int) -> None:
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    frames = [binary_frame(payload) for payload in payloads]
    stream = b"".join(frames)
    data, at, found = bytearray(stream[: cut % (len(stream) + 1)]), 0, []
    while (frame := frame_at(data, at)) is not None:
        assert frame.opcode == BINARY
        found.append(bytes(data[frame.begin : frame.end]))
        at = frame.end
    assert found == payloads[: len(found)]
    assert len(data) - at < len(frames[len(found)]) if len(found) < len(frames) else len(data) == at
