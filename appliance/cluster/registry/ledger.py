"""What the engine is told, and has been told, of the clients of one process: a value without I/O."""

from collections.abc import Iterable, Mapping

from appliance.cluster.registry.clients import MAX_BYTES

OVERHEAD = 80
"""Bytes that an entry takes at the engine beside its own, about."""
MAX_REMOVED = 200_000
"""Clients that left while the engine was away; beyond, those that left first are forgotten."""


class Ledger:
    """Entries by field, within ``limit`` bytes. ``dropped`` counts those that had no room: nobody can speak for these
    clients but the next start of this node. ``bytes`` is what the entries take.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self.dropped = 0
        self._sizes: dict[bytes, int] = {}
        self._changes: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, field: object) -> bool:
        return field in self._sizes

    @property
    def waiting(self) -> int:
        """Changes that the engine has to be told."""
        return len(self._changes)

    def reserve(self, field: bytes, value: bytes) -> bool:
        """Make room for an entry that is written elsewhere, with a claim. False where there is none."""
        size = OVERHEAD + len(field) + len(value)
        total = self.bytes - self._sizes.get(field, 0) + size
        if total > self.limit or len(value) > MAX_BYTES:
            self.dropped += 1
            return False
        self.bytes = total
        self._sizes[field] = size
        if field in self._changes:
            self._changes[field] = value  # it may be removed by a batch that is under way
        return True

    def put(self, field: bytes, value: bytes) -> None:
        """Write an entry with the next batch, if there is room."""
        if self.reserve(field, value):
            self._changes[field] = value

    def remove(self, field: bytes) -> None:
        """Remove an entry with the next batch."""
        self.bytes -= self._sizes.pop(field, 0)
        self._changes.pop(field, None)  # the last change is the last to be made
        if len(self._changes) >= MAX_REMOVED:
            del self._changes[next(iter(self._changes))]
        self._changes[field] = None

    def restart(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """The engine may have lost what it was told, or knows it of an earlier incarnation: write these entries, and
        what is to be removed all the same.
        """
        self._changes = {field: None for field, value in self._changes.items() if value is None}
        self._sizes.clear()
        self.bytes = 0
        for field, value in entries:
            self.put(field, value)

    def batch(self, limit: int) -> Mapping[bytes, bytes | None]:
        """The first changes; None removes."""
        return {field: self._changes[field] for field, _ in zip(self._changes, range(limit), strict=False)}

    def written(self, batch: Mapping[bytes, bytes | None]) -> None:
        """The engine was told these. What has changed meanwhile is told again."""
        for field, value in batch.items():
            if field in self._changes and self._changes[field] == value:
                del self._changes[field]
