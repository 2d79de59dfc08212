"""Frames as an independent WebSocket implementation reads them (RFC 6455 section 5.2)."""

from collections.abc import Sequence

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from appliance import _native
from tests.native.canister import Message, Reply, key_of

OVERHEAD = len(b"\xa4\x63key\x78\x56" + key_of(0).encode() + b"\x67content" + b"\x64cert\x40" + b"\x64tree\x40")


def receive(data: bytes) -> Sequence[object]:
    client = ClientProtocol(parse_uri("ws://gateway/"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    return client.events_received()


def frame_with(content: bytes) -> bytes:
    reply = Reply.of([Message(0)])
    reply.messages[0]["content"] = content
    reply.cert = reply.tree = b""
    (message,) = _native.read_poll_reply_unverified(reply.encode(), generation=2).messages
    return message.frame


@pytest.mark.parametrize("size", [0, 1, 23, 24, 125, 126, 127, 255, 256, 65_400, 65_535, 65_536, 70_000])
def test_a_frame_is_one_final_binary_message(size: int) -> None:
    content = bytes(size)
    (event,) = receive(frame_with(content))
    assert isinstance(event, Frame)
    assert (event.opcode, event.fin, event.rsv1, event.rsv2, event.rsv3) == (Opcode.BINARY, True, False, False, False)
    assert _native.decode_cbor(bytes(event.data)) == {"key": key_of(0), "content": content, "cert": b"", "tree": b""}


def test_frames_follow_one_another_at_every_length_of_the_header() -> None:
    sizes = [*range(40), *range(65_535 - OVERHEAD - 8, 65_535 - OVERHEAD + 8)]
    frames = [frame_with(bytes(size)) for size in sizes]
    assert {frame[1] for frame in frames} >= {126, 127}
    events = receive(b"".join(frames))
    contents = [_native.decode_cbor(bytes(event.data)) for event in events if isinstance(event, Frame)]
    assert [len(content["content"]) for content in contents if isinstance(content, dict)] == sizes
