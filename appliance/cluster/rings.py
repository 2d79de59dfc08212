"""The doorbell: which canisters something was sent to, so that other nodes poll them at once. Values without I/O.

A message holds a tag of the cluster's seal, the incarnation of its sender, a number, and the ids of canisters. Whoever
has not the identity can forge none, and of a copy nobody polls.
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


class Ring(NamedTuple):
    """A message of the doorbell. ``number`` is one of ``requests.numbers``."""

    sender: bytes
    number: int
    canister_ids: list[Principal]


def encode(seal: Seal, sender: bytes, number: int, canister_ids: Iterable[bytes]) -> bytes:
    """A message of this sender (``SENDER_BYTES``)."""
    header, ids = _HEADER.pack(sender, number), b"".join(bytes([len(each)]) + each for each in canister_ids)
    return seal.tag(_PURPOSE, header, ids) + header + ids


def decode(seal: Seal, message: bytes) -> Ring:
    """What a message says. Raises Malformed, and Forged for one that no node of the cluster has written."""
    if not OVERHEAD <= len(message) <= MAX_BYTES:
        raise Malformed("doorbell", f"it has {len(message)} bytes")
    header, ids = message[TAG_BYTES:OVERHEAD], message[OVERHEAD:]
    if not seal.proves(message[:TAG_BYTES], _PURPOSE, header, ids):
        raise Forged
    sender, number = _HEADER.unpack(header)
    return Ring(sender, number, list(_ids(ids)))


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
