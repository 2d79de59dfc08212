"""The doorbell: which canisters something was sent to, so that other nodes poll them at once, and which endpoints of
the IC asked to be left alone. Values without I/O.

A message holds a tag of the cluster's seal, the incarnation of its sender, a number, and the ids of canisters or one
pause. Whoever has not the identity can forge none, and of a copy nobody does anything.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from appliance.cluster.requests.pieces import Forged
from appliance.cluster.seal import TAG_BYTES, Seal
from appliance.errors import Malformed
from appliance.ic.principal import Principal

SENDER_BYTES = 8
MAX_BYTES = 32 * 1024
"""Of one message. What does not fit goes into the next."""
MAX_ID = 29
"""Bytes of a principal."""

_HEADER = struct.Struct(f">{SENDER_BYTES}sQ")
OVERHEAD = TAG_BYTES + _HEADER.size
"""Bytes of a message for no canister."""
_PURPOSE = "ring"
_PAUSE_PURPOSE = "pause"
_PAUSE = struct.Struct(">16sI")


class Pause(NamedTuple):
    """An endpoint asked to be left alone. ``address`` stands for the address that requests come from (16 bytes)."""

    address: bytes
    seconds: float
    url: str


class Ring(NamedTuple):
    """A message of the doorbell. ``number`` is one of ``requests.numbers``."""

    sender: bytes
    number: int
    canister_ids: list[Principal]
    pause: Pause | None = None


def encode(seal: Seal, sender: bytes, number: int, canister_ids: Iterable[bytes]) -> bytes:
    """A message of this sender (``SENDER_BYTES``)."""
    header, ids = _HEADER.pack(sender, number), b"".join(bytes([len(each)]) + each for each in canister_ids)
    return seal.tag(_PURPOSE, header, ids) + header + ids


def encode_pause(seal: Seal, sender: bytes, number: int, pause: Pause) -> bytes:
    """A message of this sender about an endpoint."""
    header = _HEADER.pack(sender, number)
    what = _PAUSE.pack(pause.address, round(pause.seconds * 1000)) + pause.url.encode()
    return seal.tag(_PAUSE_PURPOSE, header, what) + header + what


def decode(seal: Seal, message: bytes) -> Ring:
    """What a message says. Raises Malformed, and Forged for one that no node of the cluster has written."""
    if not OVERHEAD <= len(message) <= MAX_BYTES:
        raise Malformed("doorbell", f"it has {len(message)} bytes")
    tag, header, what = message[:TAG_BYTES], message[TAG_BYTES:OVERHEAD], message[OVERHEAD:]
    sender, number = _HEADER.unpack(header)
    if seal.proves(tag, _PURPOSE, header, what):
        return Ring(sender, number, list(_ids(what)))
    if seal.proves(tag, _PAUSE_PURPOSE, header, what):
        return Ring(sender, number, [], _pause(what))
    raise Forged


def _pause(what: bytes) -> Pause:
    try:
        address, ms = _PAUSE.unpack_from(what)
        return Pause(address, ms / 1000, what[_PAUSE.size :].decode())
    except (struct.error, UnicodeDecodeError):
        raise Malformed("doorbell", "there is no pause") from None


def _ids(ids: bytes) -> Iterator[Principal]:
    start = 0
    while start < len(ids):
        end = start + 1 + ids[start]
        if not 1 <= ids[start] <= MAX_ID or end > len(ids):
            raise Malformed("doorbell", f"there is no principal at byte {start}")
        yield Principal(ids[start + 1 : end])
        start = end


class Waiting:
    """Canisters that are to be rung for, each once."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, canister_id: bytes) -> None:
        """Ring for this canister with one of the next messages."""
        self._ids[canister_id] = None

    def take(self) -> list[bytes]:
        """Those of the next message."""
        room, taken = MAX_BYTES - OVERHEAD, list[bytes]()
        for each in self._ids:
            room -= 1 + len(each)
            if room < 0:
                break
            taken.append(each)
        for each in taken:
            del self._ids[each]
        return taken

    def clear(self) -> None:
        """Ring for none of them."""
        self._ids.clear()
