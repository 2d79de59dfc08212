"""Detects a gateway that uses another wire generation than the client, usually because of a wrong path."""

from typing import NamedTuple

from appliance.client.errors import OtherGeneration
from appliance.client.sessions.session import Generation
from appliance.crypto import decode_cbor
from appliance.errors import GatewayError


class _Kind(NamedTuple):
    mark: str  # the field that only this kind of frame has
    name: str
    generations: tuple[Generation, ...]


_KINDS = (
    _Kind("gateway_principal", "a handshake of v2", ("v2",)),
    _Kind("val", "a message of v0", ("v0",)),
    _Kind("content", "a message of v1 or v2", ("v1", "v2")),
)


def detect_wrong_generation(frame: bytes, generation: Generation) -> None:
    """Raise OtherGeneration for a frame that only a gateway of other generations sends. Check nothing else."""
    try:
        fields = decode_cbor(frame)
    except GatewayError:
        return
    for kind in _KINDS:
        if isinstance(fields, dict) and kind.mark in fields and generation not in kind.generations:
            raise OtherGeneration(kind.name, generation)
