"""Frames on the connection of a worker to its engine: four bytes with the length, then JSON. A value without I/O.

A request is ``[number, method, arguments]``; its answer ``[number, answer]``, or ``[number, null, problem]`` where the
engine cannot. ``[0, message]`` is what was rung, to whoever listens, and so on (`RUNG`, `TOLD`, `HEARD`).
"""

import json
from typing import Any

from appliance.errors import Malformed

LENGTH_BYTES = 4
MAX_FRAME = 32 * 1024 * 1024
"""Bytes of one, where bytes take two characters. A reply of a canister has 4 MiB at most (``network.max_reply``)."""
RUNG, TOLD, HEARD = 0, -1, -2
"""The numbers of frames that answer nothing: what was rung, was told to this node, and has a new entry."""


def encode(*parts: Any) -> bytes:
    """A frame. Raises Malformed for one that is too long."""
    body = json.dumps(parts, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise Malformed("frame of the engine", f"it has {len(body)} bytes")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class Frames:
    """Cuts frames from what arrives."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[list[Any]]:
        """The frames that are whole now, each as a list that begins with its number. Raises Malformed."""
        self._bytes += data
        found: list[list[Any]] = []
        while len(self._bytes) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._bytes[:LENGTH_BYTES], "big")
            if end > LENGTH_BYTES + MAX_FRAME:
                raise Malformed("frame of the engine", f"it has {end - LENGTH_BYTES} bytes")
            if len(self._bytes) < end:
                break
            found.append(_read(bytes(self._bytes[LENGTH_BYTES:end])))
            del self._bytes[:end]
        return found


def _read(body: bytes) -> list[Any]:
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("frame of the engine", str(error)) from None
    if not isinstance(frame, list) or len(frame) < 2 or type(frame[0]) is not int:
        raise Malformed("frame of the engine", "it is no list with a number")
    return frame
