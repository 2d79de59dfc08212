"""WebSocket frames: how the gateway writes them, and which wire generation a client's opening message is of.

Frames of the gateway are those of a server (RFC 6455 section 5.2): final, unmasked, of one message each.
"""

from typing import Any, NamedTuple

from appliance.crypto import decode_cbor
from appliance.errors import Malformed

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82
_LONG_HEADERS = {126: 4, 127: 10}


class Delivery(NamedTuple):
    """A message of the canister: a complete WebSocket frame, its nonce in the canister's queue, and its number among
    those for the client. ``polled`` is for the shell, which gets it back with a message that was kept.
    """

    frame: bytes
    nonce: int
    sequence_num: int
    polled: Any = None


def binary_frame(payload: bytes) -> bytes:
    """A binary message in one frame, with the shortest header."""
    return _frame(_FINAL_BINARY, payload)


def text_frame(text: str) -> bytes:
    """A text message in one frame, with the shortest header."""
    return _frame(_FINAL_TEXT, text.encode())


def payload_of(frame: bytes) -> bytes:
    """The message in a frame."""
    return frame[_LONG_HEADERS.get(frame[1], 2) :]


def detect_generation(frame: bytes) -> str | None:
    """The generation whose clients open with a message of this shape, as words; None where it is of none.

    Nothing is verified: use this for a close reason, never to choose a session.
    """
    try:
        message = decode_cbor(frame, what="opening message")
    except Malformed:
        return None
    match message:
        case {"content": bytes(), "sig": bytes()}:
            return "v0"
        case {"envelope": dict()}:
            return "v1 or v2"
    return None


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
