"""Leases and entries in memory, as the scripts at Redis are meant. Times are ms of the engine's clock."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.cluster.shared.leases import ENTRY_MS, LEASE_MS, Entries, Lease, Wanted

_NOBODY = ("", "", 0)


@dataclass(slots=True)
class _Queue:
    holder: str
    epoch: str
    until_ms: int
    last: int = 0
    is_known: bool = False


@dataclass(slots=True)
class LeaseBoard:
    """What an engine holds of shared polls. ``size`` is that of all entries."""

    size: int = 0
    _queues: dict[bytes, _Queue] = field(default_factory=dict)
    _nodes: dict[bytes, dict[str, int]] = field(default_factory=dict)
    _entries: dict[tuple[bytes, str, int], bytes] = field(default_factory=dict)
    _log: deque[tuple[tuple[bytes, str, int], int]] = field(default_factory=deque)
    """Entries in the order in which they came, and until when each is kept."""

    def lease(self, incarnation: str, wanted: Sequence[Wanted], now_ms: int) -> list[Lease]:
        """See ``Leases.lease``."""
        return [self._lease_one(incarnation, each, now_ms) for each in wanted]

    def _lease_one(self, incarnation: str, wanted: Wanted, now_ms: int) -> Lease:
        held = self._held(wanted.queue, now_ms)
        is_own = held is not None and held.holder == incarnation
        if wanted.mode == "seize" or (wanted.mode != "look" and held is None) or (wanted.mode == "renew" and is_own):
            held = self._queues[wanted.queue] = _Queue(incarnation, wanted.epoch, now_ms + LEASE_MS)
        elif is_own and wanted.mode == "look":
            del self._queues[wanted.queue]
            held = None
        elif held is not None and is_own:
            held.is_known |= wanted.epoch == held.epoch
            held.until_ms = now_ms + LEASE_MS
        nodes = {each: seen for each, seen in self._nodes.get(wanted.queue, {}).items() if now_ms - seen < LEASE_MS}
        self._nodes[wanted.queue] = nodes | {incarnation: now_ms}
        is_shown = held is not None and (held.is_known or held.holder == incarnation)
        shown = (held.holder, held.epoch, held.last) if held is not None and is_shown else _NOBODY
        return Lease(*shown, len(self._nodes[wanted.queue]))

    def put(
        self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int, now_ms: int
    ) -> bool:
        """See ``Leases.put``; whoever calls it tells everybody."""
        held = self._held(queue, now_ms)
        if held is None or (held.holder, held.epoch, held.last + 1) != (incarnation, epoch, number):
            return False
        self.trim(memory - len(entry), now_ms)
        key = (queue, epoch, number)
        self._entries[key] = entry
        self._log.append((key, now_ms + ENTRY_MS))
        self.size += len(entry)
        held.last, held.is_known, held.until_ms = number, True, now_ms + LEASE_MS
        return True

    def trim(self, memory: int, now_ms: int) -> None:
        """Delete the entries whose time has passed, and the oldest beyond so many bytes."""
        while self._log and (self.size > memory or self._log[0][1] <= now_ms):
            key, _ = self._log.popleft()
            self.size -= len(self._entries.pop(key))

    def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int, now_ms: int) -> Entries:
        """See ``Leases.entries``."""
        self.trim(self.size, now_ms)
        held = self._held(queue, now_ms)
        if held is None:
            return Entries("", 0, 0)
        first, found, size = held.last + 1, list[bytes](), 0
        if held.epoch != epoch:
            return Entries(held.epoch, held.last, first)
        for number in range(after + 1, held.last + 1):
            entry = self._entries.get((queue, epoch, number))
            if entry is None and found:
                break
            if entry is not None:
                size += len(entry)
                if found and size > max_bytes:
                    break
                first = first if found else number
                found.append(entry)
        return Entries(held.epoch, held.last, first, tuple(found))

    def _held(self, queue: bytes, now_ms: int) -> _Queue | None:
        held = self._queues.get(queue)
        return held if held is not None and now_ms < held.until_ms else None
