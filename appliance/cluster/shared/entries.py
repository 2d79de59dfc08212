"""What a node writes into the engine of an answer that it got, sealed for its place there. A value without I/O.

An entry is the number of the schema, the seal, the epoch and the number of the entry, the length of the signed query,
the query, and the answer as it came. The seal keeps the engine from writing entries, or moving them, and from making
the nodes verify what it pleases; what is in an entry is verified like an own answer all the same.
"""

import struct

from appliance.cluster.seal import Seal
from appliance.errors import EntryForged, EntryReplayed, EntryUnknown
from appliance.gateway.sharing import Answer

SCHEMA = 1
"""Nodes of releases with another number do not read each other's entries."""
PURPOSE = "shared poll"
_HEAD = struct.Struct(">B16s8sQI")
HEAD_BYTES = _HEAD.size


def queue_of(gateway: bytes, canister_id: bytes) -> bytes:
    """The name of the queue that a canister has for a principal of the gateway."""
    return bytes([len(gateway)]) + gateway + canister_id


def seal(seal: Seal, queue: bytes, epoch: str, number: int, answer: Answer) -> bytes:
    """An entry. ``epoch`` are 16 hexadecimal digits."""
    place = (bytes.fromhex(epoch), number)
    return _HEAD.pack(SCHEMA, _tag(seal, queue, place, answer), *place, len(answer.query)) + b"".join(answer)


def unseal(seal: Seal, queue: bytes, epoch: str, number: int, entry: bytes) -> Answer:
    """The answer in the entry at this place.

    Raises EntryUnknown for another schema, EntryReplayed for one that a node wrote for another place, and EntryForged
    for what no node wrote.
    """
    if entry[:1] != bytes([SCHEMA]):
        raise EntryUnknown(entry[0] if entry else 0, SCHEMA)
    if len(entry) < HEAD_BYTES:
        raise EntryForged(len(entry))
    _, tag, found_epoch, found_number, query = _HEAD.unpack_from(entry)
    answer = Answer(entry[HEAD_BYTES : HEAD_BYTES + query], entry[HEAD_BYTES + query :])
    place = (found_epoch, found_number)
    if len(answer.query) != query or not seal.proves(tag, PURPOSE, *_parts(queue, place, answer)):
        raise EntryForged(len(entry))
    if place != (bytes.fromhex(epoch), number):
        raise EntryReplayed(found_number, number)
    return answer


def _tag(seal: Seal, queue: bytes, place: tuple[bytes, int], answer: Answer) -> bytes:
    return seal.tag(PURPOSE, *_parts(queue, place, answer))


def _parts(queue: bytes, place: tuple[bytes, int], answer: Answer) -> tuple[bytes, ...]:
    epoch, number = place
    return bytes([SCHEMA]), queue, epoch, number.to_bytes(8, "big"), *answer
