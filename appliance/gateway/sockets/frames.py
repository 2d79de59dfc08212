"""Frames of a client before they are parsed: cut at their ends, so that a read can be worked off in parts.

A read of 256 KiB holds up to 43,690 empty frames, and the parser parses all that it is given. Parsing a frame costs
several times what finding its end costs.
"""

from collections.abc import Iterator
from typing import NamedTuple

from websockets.frames import Opcode

_NO_HEADER = 0
"""The size of a frame whose header is not whole; a frame has two bytes at least."""


class Part(NamedTuple):
    """Bytes of a client, and the number of frames that begin in them."""

    data: bytes
    frames: int


class FrameSplitter:
    """Keeps the bytes of a client and returns them in parts of so many frames.

    It reads the lengths in the frame headers and checks nothing: whatever is wrong with a frame, the parser finds.
    """

    __slots__ = ("_at", "_data", "_left", "_size", "is_ready")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._size = 0
        self._left = 0
        """Bytes that the frame before ``_at`` still lacks."""
        self.is_ready = False
        """Whether ``take`` returns any bytes; those of half a header wait for its other half."""

    def __len__(self) -> int:
        return len(self._data) - self._at

    @property
    def begun(self) -> int:
        """Bytes of a frame that were taken already, while the rest of it is still to come."""
        return self._size - self._left if self._left else 0

    @property
    def kept(self) -> int:
        """Bytes that wait, and those of a frame that has begun, which the parser keeps."""
        return len(self._data) - self._at + (self._size - self._left if self._left else 0)

    def feed(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        self.is_ready = bool(data) and self._is_ready()

    def take(self, frames: int) -> Part:
        """Return the bytes until the end of so many further frames, or as far as there are any.

        A close frame begins a part of its own: the parser answers it at once, and with TLS that ends the socket, though
        a message before it in the same part may still have to wait.
        """
        data, at, left, taken = self._data, self._at, self._left, 0
        while True:
            step = min(left, len(data) - at)
            at, left = at + step, left - step
            if at == len(data):  # as almost always after the first frame: nothing waits behind it
                break
            if left or taken == frames or (at > self._at and _is_close(data, at)) or not (left := _size_of(data, at)):
                break
            taken += 1
            self._size = left
        part = data if at - self._at == len(data) else data[self._at : at]
        self._left = left
        # A read of 256 KiB must not stay until the next one comes: nobody counts it, and thousands of clients are idle.
        self._data, self._at = (b"", 0) if at == len(data) else (data, at)
        self.is_ready = self._at < len(self._data) and self._is_ready()
        return Part(part, taken)

    def ahead(self, most: int) -> Iterator[int]:
        """Yield how many frames begin in the bytes that wait, at most so many at a time. Takes none of them."""
        data, at, found = self._data, self._at + self._left, 0
        while at + 1 < len(data):
            second = data[at + 1]
            # Here and not in ``_size_of``, because a read may have 43,690 of these frames.
            size = 2 + (second & 0x7F) + (second >> 5 & 4) if second & 0x7F < 126 else _size_of(data, at)
            if not size:
                break
            at += size
            found += 1
            if found == most:
                yield found
                found = 0
        if found:
            yield found

    def clear(self) -> None:
        """Forget what waits."""
        self._data, self._at, self._left, self.is_ready = b"", 0, 0, False

    def _is_ready(self) -> bool:
        return self._at < len(self._data) and (self._left > 0 or _size_of(self._data, self._at) != _NO_HEADER)


def _is_close(data: bytes, at: int) -> bool:
    return at < len(data) and data[at] & 0x0F == Opcode.CLOSE


def _size_of(data: bytes, at: int) -> int:
    """The size of the frame that begins here, header included; ``_NO_HEADER`` if that cannot be known yet."""
    there = len(data) - at
    if there < 2:
        return _NO_HEADER
    second = data[at + 1]
    length, mask = second & 0x7F, second >> 7 << 2
    if length < 126:
        return 2 + mask + length
    width = 2 if length == 126 else 8
    if there < 2 + width:
        return _NO_HEADER
    return 2 + width + mask + int.from_bytes(data[at + 2 : at + 2 + width], "big")
