"""Frames as an independent WebSocket implementation reads them (RFC 6455 section 5.2)."""

from collections.abc import Sequence
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from appliance import _native
from appliance.ic.principal import Principal
from tests.native.canister import Reply, key_of

KEY = key_of(0, Principal(b""))
"""The shortest one, so that whole frames fit into the shortest header."""


def receive(data: bytes) -> Sequence[object]:
    client = ClientProtocol(parse_uri("ws://gateway/"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    return client.events_received()


def content_with(size: int) -> bytes:
    """The certified content of a message of so many bytes in v0."""
    fields: dict[str, Any] = {"client_key": b"", "sequence_num": 0, "timestamp": 0, "message": bytes(size)}
    return _native.encode_cbor(fields, tagged=False)


def frame_with(size: int) -> bytes:
    message: dict[str, object] = {"client_key": b"", "key": KEY, "val": content_with(size)}
    reply = Reply(0, [message], b"", b"")
    (polled,) = _native.read_poll_reply_unverified(reply.encode(), generation=0).messages
    return polled.frame


OVERHEAD = len(frame_with(300)) - len(b"\x82\x7e\x01\x2c") - 300
"""Bytes of a payload beside the message, where the message has 256 to 65,535 bytes."""


@pytest.mark.parametrize("size", [0, 1, 23, 24, 125, 126, 127, 255, 256, 65_400, 65_535, 65_536, 70_000])
def test_a_frame_is_one_final_binary_message(size: int) -> None:
    (event,) = receive(frame_with(size))
    assert isinstance(event, Frame)
    assert (event.opcode, event.fin, event.rsv1, event.rsv2, event.rsv3) == (Opcode.BINARY, True, False, False, False)
    assert _native.decode_cbor(bytes(event.data)) == {
        "key": KEY,
        "val": content_with(size),
        "cert": b"",
        "tree": b"",
    }


def test_frames_follow_one_another_at_every_length_of_the_header() -> None:
    sizes = [*range(40), *range(65_535 - OVERHEAD - 8, 65_535 - OVERHEAD + 8)]
    frames = [frame_with(size) for size in sizes]
    assert {frame[1] for frame in frames} >= {120, 126, 127}
    events = receive(b"".join(frames))
    contents = [_native.decode_cbor(bytes(event.data)) for event in events if isinstance(event, Frame)]
    assert [content["val"] for content in contents if isinstance(content, dict)] == list(map(content_with, sizes))
