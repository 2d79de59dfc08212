"""Complete WebSocket frames of a server (RFC 6455 section 5.2): final, unmasked, of one message each."""

_FINAL_BINARY = 0x82


_LONG_HEADERS = {126: 4, 127: 10}


def binary_frame(payload: bytes) -> bytes:
    """A binary message in one frame, with the shortest header."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL_BINARY, size)) + payload
    if size < 1 << 16:
        return bytes((_FINAL_BINARY, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL_BINARY, 127)) + size.to_bytes(8, "big") + payload


def payload_of(frame: bytes) -> bytes:
    """What ``binary_frame`` framed."""
    return frame[_LONG_HEADERS.get(frame[1], 2) :]
