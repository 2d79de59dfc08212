"""What a node writes into the engine about a client: sealed, so that the engine cannot make a node close anybody."""

import hashlib
from collections.abc import Iterable, Sequence

from appliance.cluster.seal import TAG_BYTES, Seal
from appliance.errors import Malformed
from appliance.gateway.nodes import Known
from appliance.ic.principal import Principal

FIELD_BYTES = 16
INCARNATION_CHARS = 16
MAX_BYTES = 4096
"""Of one value. The longest that a session makes has some hundred."""
_PURPOSE = "known"
_PARTS = 7


def field_of(canister_id: bytes, client_key: bytes) -> bytes:
    """What a client is found by: ``FIELD_BYTES`` that are others for each canister and key."""
    length = len(canister_id).to_bytes(2, "big")
    return hashlib.sha256(length + canister_id + client_key).digest()[:FIELD_BYTES]


def encode(known: Known, seal: Seal, *, node: str, incarnation: str) -> bytes:
    """The value for a client of this process of a node."""
    parts = _parts(known)
    tag = seal.tag(_PURPOSE, node.encode(), incarnation.encode(), *parts)
    return incarnation.encode() + tag + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def decode(value: bytes, seals: Iterable[Seal], *, node: str, field: bytes) -> Known:
    """The client of a value that was found for this node under this field. Raises Malformed where no node of the
    cluster has written it there.
    """
    incarnation, tag = value[:INCARNATION_CHARS], value[INCARNATION_CHARS : INCARNATION_CHARS + TAG_BYTES]
    parts = list(_read(value[:MAX_BYTES], INCARNATION_CHARS + TAG_BYTES))
    if not any(seal.proves(tag, _PURPOSE, node.encode(), incarnation, *parts) for seal in seals):
        raise Malformed("registry", "nobody of this cluster has sealed it")
    if len(parts) != _PARTS or field_of(parts[1], parts[3]) != field:
        raise Malformed("registry", "it stands in the place of another client")
    gateway, canister_id, generation, client_key, client, principal, close_arg = parts
    return Known(
        Principal(gateway),
        Principal(canister_id),
        generation.decode(),
        client_key,
        client.decode(),
        principal,
        close_arg,
        node,
        incarnation.decode(),
    )


def _parts(known: Known) -> Sequence[bytes]:
    return (
        bytes(known.gateway),
        bytes(known.canister_id),
        known.generation.encode(),
        known.client_key,
        known.client.encode(),
        known.principal,
        known.close_arg,
    )


def _read(value: bytes, start: int) -> Iterable[bytes]:
    while start < len(value):
        end = start + 2 + int.from_bytes(value[start : start + 2], "big")
        if end > len(value):
            raise Malformed("registry", f"it ends within the part at byte {start}")
        yield value[start + 2 : end]
        start = end
