"""Complete WebSocket frames of a server (RFC 6455 section 5.2): final, unmasked, of one message each."""

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82


_LONG_HEADERS = {126: 4, 127: 10}


def binary_frame(payload: bytes) -> bytes:
    """A binary message in one frame, with the shortest header."""
    return _frame(_FINAL_BINARY, payload)


def text_frame(text: str) -> bytes:
    """A text message in one frame, with the shortest header."""
    return _frame(_FINAL_TEXT, text.encode())


def payload_of(frame: bytes) -> bytes:
    """What was framed."""
    return frame[_LONG_HEADERS.get(frame[1], 2) :]


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
