"""The messages between two nodes: pieces of a request or of its answer, each sealed. Values without I/O.

A piece is one byte for what it is a piece of, a tag, a header, and a part of the whole. The seal covers all of it, so
that neither can be moved to another message, another receiver or another place in the same message.
"""

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from appliance.cluster.seal import TAG_BYTES, Seal
from appliance.errors import Malformed

Purpose = Literal["request", "answer"]

INCARNATION_BYTES = 8
PIECE_BYTES = 32 * 1024
"""Of the whole in one piece."""
MAX_REQUEST = 256 * 1024
MAX_ANSWER = 8 * 1024**2
"""Bytes of a whole request, and of a whole answer."""

_HEADER = struct.Struct(f">{INCARNATION_BYTES}s{INCARNATION_BYTES}sQHH")
_PURPOSES: dict[bytes, Purpose] = {b"q": "request", b"a": "answer"}
_SIGNS = {purpose: sign for sign, purpose in _PURPOSES.items()}
_OVERHEAD = 1 + TAG_BYTES + _HEADER.size
MAX_MESSAGE = _OVERHEAD + PIECE_BYTES


class Piece(NamedTuple):
    """``number`` is that of the request, which its answer has too; ``place`` is that among ``total`` pieces."""

    purpose: Purpose
    sender: bytes
    receiver: bytes
    number: int
    place: int
    total: int
    body: bytes


class Forged(Exception):
    """A message that no node of this cluster has written like this."""


def sealed(
    seal: Seal, purpose: Purpose, whole: bytes, *, sender: bytes, receiver: bytes, number: int
) -> Iterator[bytes]:
    """The messages of a request or an answer. Incarnations are ``INCARNATION_BYTES`` long."""
    parts = [whole[start : start + PIECE_BYTES] for start in range(0, len(whole), PIECE_BYTES)] or [b""]
    for place, part in enumerate(parts):
        header = _HEADER.pack(sender, receiver, number, place, len(parts))
        yield _SIGNS[purpose] + seal.tag(purpose, header, part) + header + part


def opened(seal: Seal, message: bytes) -> Piece:
    """What a message says. Raises Malformed or Forged."""
    purpose = _PURPOSES.get(message[:1])
    if purpose is None or not _OVERHEAD <= len(message) <= MAX_MESSAGE:
        raise Malformed("message of a node", f"it has {len(message)} bytes and is of no known kind")
    tag, header = message[1 : 1 + TAG_BYTES], message[1 + TAG_BYTES : _OVERHEAD]
    if not seal.proves(tag, purpose, header, message[_OVERHEAD:]):
        raise Forged
    sender, receiver, number, place, total = _HEADER.unpack(header)
    piece = Piece(purpose, sender, receiver, number, place, total, message[_OVERHEAD:])
    if piece.place >= piece.total:
        raise Malformed("message of a node", f"it is piece {piece.place} of {piece.total}")
    return piece


class Assembly:
    """Puts pieces together. Of ``limit`` wholes at most: where one more begins, the oldest is given up."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.given_up = 0
        self._limit = limit
        self._max_pieces = -(-max_bytes // PIECE_BYTES)
        self._begun: dict[tuple[bytes, int], dict[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def add(self, piece: Piece) -> bytes | None:
        """The whole, once its last piece is there. A piece that came before changes nothing. Raises Malformed for a
        whole of too many pieces.
        """
        if piece.total > self._max_pieces:
            raise Malformed("message of a node", f"it has {piece.total} pieces, the limit is {self._max_pieces}")
        if piece.total == 1:
            return piece.body
        key = piece.sender, piece.number
        if key not in self._begun and len(self._begun) >= self._limit:
            del self._begun[next(iter(self._begun))]
            self.given_up += 1
        parts = self._begun.setdefault(key, {})
        parts[piece.place] = piece.body
        if len(parts) < piece.total:
            return None
        del self._begun[key]
        return b"".join(parts[place] for place in sorted(parts))

    def drop(self, sender: bytes, number: int) -> None:
        """Nobody waits for this whole any more."""
        self._begun.pop((sender, number), None)


class Request(NamedTuple):
    """The whole of a request, between nodes by their names: which the engine must not exchange either."""

    sender: str
    receiver: str
    kind: str
    body: bytes

    def encode(self) -> bytes:
        """As bytes."""
        names = [each.encode() for each in (self.sender, self.receiver, self.kind)]
        return b"".join(bytes([len(name)]) + name for name in names) + self.body

    @classmethod
    def decode(cls, whole: bytes) -> "Request":
        """Raises Malformed."""
        names, start = list[str](), 0
        for _ in range(3):
            end = start + 1 + (whole[start] if start < len(whole) else 0)
            if end > len(whole):
                raise Malformed("request of a node", "it ends within its names")
            try:
                names.append(whole[start + 1 : end].decode())
            except UnicodeDecodeError:
                raise Malformed("request of a node", "its names are no text") from None
            start = end
        sender, receiver, kind = names
        return cls(sender, receiver, kind, whole[start:])
