"""Telling a client that it speaks another wire generation, where its opening message shows that."""

from appliance.crypto import decode_cbor
from appliance.errors import Malformed


def spoken_in(frame: bytes) -> str | None:
    """The generation whose clients open with a frame of this shape, as words; None where it is of none.

    Nothing is verified: this serves the reason of a close, never the choice of a session.
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
