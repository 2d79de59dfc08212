"""Frames of a server in the generator's receive buffer."""

from typing import NamedTuple

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class Frame(NamedTuple):
    """Opcode, and where the payload begins and ends."""

    opcode: int
    begin: int
    end: int


def frame_at(data: bytearray, at: int) -> Frame | None:
    """Read the frame that begins here; None while it is incomplete.

    Fragments are not joined: the messages of gateways are one frame each.
    """
    available = len(data) - at
    if available < 2:
        return None
    size, head = data[at + 1] & 0x7F, 2
    if size == 126:
        if available < 4:
            return None
        size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
    elif size == 127:
        if available < 10:
            return None
        size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
    return Frame(data[at] & 0x0F, at + head, at + head + size) if available >= head + size else None
