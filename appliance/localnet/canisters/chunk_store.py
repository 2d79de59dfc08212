"""Chunks of modules that are too large for one message (interface specification, "Wasm chunk store")."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

CHUNK_LIMIT = 1024 * 1024
STORE_LIMIT = 100
"""Chunks of one canister."""


class ChunkStoreError(Exception):
    """A chunk that cannot be stored or found; the text is the replica's."""


class ChunkStore:
    """The chunks of one canister by their hashes."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self._chunks.values()))

    def put(self, chunk: bytes) -> bytes:
        """Store a chunk and return its hash; a stored one is kept. Raises ChunkStoreError."""
        if len(chunk) > CHUNK_LIMIT:
            raise ChunkStoreError(f"Wasm chunk size {len(chunk)} exceeds the maximum chunk size of {CHUNK_LIMIT}.")
        digest = sha256(chunk).digest()
        if digest not in self._chunks and len(self._chunks) >= STORE_LIMIT:
            raise ChunkStoreError(f"Wasm chunk store has already reached maximum capacity of {STORE_LIMIT} chunks.")
        self._chunks[digest] = chunk
        return digest

    def get(self, digest: bytes) -> bytes:
        """A chunk. Raises ChunkStoreError."""
        try:
            return self._chunks[digest]
        except KeyError:
            raise ChunkStoreError(f"Chunk hash {digest.hex()} was not found") from None

    def assemble(self, hashes: Sequence[bytes], module_hash: bytes) -> bytes:
        """The module made of these chunks. Raises ChunkStoreError, also where its hash is not ``module_hash``."""
        module = b"".join(map(self.get, hashes))
        if sha256(module).digest() != module_hash:
            found = sha256(module).hexdigest()
            raise ChunkStoreError(f"Wasm module hash {found} does not match given hash {module_hash.hex()}")
        return module

    def copy(self) -> "ChunkStore":
        """Another store with the same chunks."""
        other = ChunkStore()
        other._chunks.update(self._chunks)
        return other

    def clear(self) -> None:
        """Remove all chunks."""
        self._chunks.clear()
