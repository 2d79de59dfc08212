"""An engine in memory, as the scripts at Redis are meant: the model of their tests, and an engine with faults."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.cluster.engine import (
    CLOSING_MS,
    DEAD_MS,
    FORGOTTEN_MS,
    HELD_MS,
    MAX_CLAIM_MS,
    SILENT_MS,
    Beat,
    BeatAnswer,
    ClaimAnswer,
    Entry,
    Facts,
    GivenUp,
    Held,
    Joined,
    NameHeld,
    NodeInfo,
    NodeRecord,
    OtherFacts,
    Release,
)
from appliance.cluster.shared.lease_board import LeaseBoard
from appliance.cluster.shared.leases import Entries, Lease, Wanted
from appliance.errors import EngineAway
from appliance.gateway.nodes import Claim, Place
from tests.cluster.registry_board import RegistryBoard

FOREVER_MS = 10**15


@dataclass
class Board:
    """What an engine holds that has never lost anything. ``now_ms`` is its clock, which the test sets."""

    now_ms: int = 0
    facts: tuple[Facts, int] | None = None
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    infos: dict[str, tuple[int, str, NodeInfo]] = field(default_factory=dict)
    openings: dict[tuple[bytes, bytes, bytes], tuple[str, int]] = field(default_factory=dict)
    places: dict[Place, tuple[tuple[str, int, str, str], int]] = field(default_factory=dict)
    listeners: list[Callable[[bytes], None]] = field(default_factory=list)
    told: dict[str, Callable[[bytes], None]] = field(default_factory=dict)
    kept: list[tuple[str, bytes]] = field(default_factory=list)
    """Every message that passed, with the incarnation of its receiver, or empty for all."""
    rewrite: Callable[[str, bytes], list[tuple[str, bytes]]] = lambda to, message: [(to, message)]
    """What the engine makes of a message: which others, to whom."""
    doubted_until: tuple[int, int] | None = (0, FOREVER_MS)
    leases: LeaseBoard = field(default_factory=LeaseBoard)
    hearers: list[Callable[[bytes], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = RegistryBoard(self)

    def flush(self) -> None:
        self.registry.clear()
        self.facts = self.doubted_until = None
        self.leases = LeaseBoard()
        for each in (self.names, self.infos, self.openings, self.places):
            each.clear()

    def send(self, to: str, message: bytes) -> bool:
        self.kept.append((to, message))
        is_heard = to in self.told
        for receiver, changed in self.rewrite(to, message):
            for each in list(self.listeners) if receiver == "" else [self.told.get(receiver)]:
                if each is not None:
                    each(changed)
        return is_heard

    def living(self, value: tuple[Any, int] | None) -> Any:
        return None if value is None or value[1] <= self.now_ms else value[0]

    def lives(self, incarnation: str, node: str) -> bool:
        return (self.living(self.names.get(node)) or "").startswith(incarnation)

    def beat(self, beat: Beat) -> BeatAnswer:
        if beat.incarnation in self.registry.given:
            return GivenUp()
        if (theirs := self.living(self.facts)) is not None and theirs != beat.facts:
            return OtherFacts(theirs)
        held = self.living(self.names.get(beat.node))
        if held is not None and not held.startswith(beat.incarnation) and held != beat.replaces:
            return NameHeld(held)
        was_known = held is not None and held.startswith(beat.incarnation)
        known = self.living(self.doubted_until)
        doubt = max(self.now_ms + MAX_CLAIM_MS if known is None else known, self.now_ms + beat.doubt_ms)
        at, before, _ = self.infos.get(beat.node, (0, beat.incarnation, None))
        if before != beat.incarnation:
            doubt = max(doubt, at + MAX_CLAIM_MS)
            self.registry.past[beat.node] = self.infos[beat.node]
        self.doubted_until = doubt, self.now_ms + FORGOTTEN_MS
        self.facts = beat.facts, self.now_ms + DEAD_MS
        self.names[beat.node] = beat.value, self.now_ms + DEAD_MS
        self.infos[beat.node] = self.now_ms, beat.incarnation, beat.info
        return Joined(was_known, self.now_ms)

    def leave(self, node: str, incarnation: str) -> None:
        held = self.living(self.names.get(node))
        if held is not None and held.startswith(incarnation):
            del self.names[node]
            self.infos.pop(node, None)
            if not self.infos:
                self.facts = None

    def nodes(self) -> list[NodeRecord]:
        for name, (at, _, _) in list(self.infos.items()):
            if self.now_ms - at > FORGOTTEN_MS:
                del self.infos[name]
            elif self.now_ms - at > SILENT_MS and (doubt := self.living(self.doubted_until)) is not None:
                self.doubted_until = max(doubt, at + MAX_CLAIM_MS), self.now_ms + FORGOTTEN_MS
        return [
            NodeRecord(name, incarnation, self.now_ms - at, info)
            for name, (at, incarnation, info) in sorted(self.infos.items())
        ]

    def claim(  # noqa: PLR0917 - as the engine
        self, node: str, incarnation: str, claim: Claim, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        since_ms = min(self.now_ms, since_ms)
        if incarnation in self.registry.given:
            return "given"
        is_placed = bool(claim.place.group)
        if is_placed and (held := self.living(self.places.get(claim.place))) is not None:
            if held[0] == "closing" and held[3] != node and self.lives(*held[2:]):
                return "leaving"
            is_placed = not since_ms < held[1] <= self.now_ms
        if claim.request_id:
            key = (claim.place.canister_id, claim.client_key, claim.request_id)
            if (holder := self.living(self.openings.get(key))) not in (None, incarnation):
                return "used"
            if holder is None:
                left_ms = min(max(1, -(-(claim.expires_ns - now_ns) // 10**6)), MAX_CLAIM_MS)
                self.openings[key] = incarnation, self.now_ms + left_ms
        if is_placed:
            self.places[claim.place] = ("held", since_ms, incarnation, node), self.now_ms + HELD_MS
        doubt = self.living(self.doubted_until)
        is_doubted = claim.request_id and (doubt is None or self.now_ms < doubt)
        if entry is not None and not is_doubted:
            self.registry.known[node, entry.field] = entry.value
            self.registry.told_.pop((node, entry.field), None)
        return "doubted" if is_doubted else "granted"

    def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        if incarnation in self.registry.given:
            return
        for place, at_ms in held:
            since_ms = min(self.now_ms, at_ms)
            before = self.living(self.places.get(place))
            is_kept = before is not None and (
                (before[0] == "closing" and before[3] != node and self.lives(*before[2:]))
                or since_ms <= before[1] <= self.now_ms
            )
            if not is_kept or (before is not None and (before[0], before[3]) == ("held", node)):
                self.places[place] = ("held", since_ms, incarnation, node), self.now_ms + HELD_MS

    def release(self, node: str, incarnation: str, place: Place) -> Release:
        name = self.living(self.names.get(node))
        if name is None or not name.startswith(incarnation):
            return "unknown"
        before = self.living(self.places.get(place))
        if before is not None and before[3] != node:
            if self.lives(*before[2:]):
                return "taken"
            if self.registry.given.get(before[2]) != "given":
                return "unknown"
        if self.registry.someone_silent(node):
            return "unknown"
        self.places[place] = ("closing", self.now_ms, incarnation, node), self.now_ms + CLOSING_MS
        return "free"

    def released(self, node: str, incarnation: str, place: Place) -> None:
        before = self.living(self.places.get(place))
        if before is not None and (before[0], *before[2:]) == ("closing", incarnation, node):
            del self.places[place]


class MemoryRegistry:
    """The registry of such an engine, with the same faults."""

    def __init__(self, engine: "MemoryEngine") -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            registry = self._engine.board.registry
            return await self._engine.do(name, lambda: getattr(registry, name)(*args, **options))

        return call


class MemoryEngine:
    """A node's way to a board. ``is_away``: nothing is answered, at once. ``stalled``: nothing goes on until it is
    cleared. ``lies`` are answers by method. ``is_deaf``: what is rung does not arrive here.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.registry = MemoryRegistry(self)
        self.is_away = False
        self.is_deaf = False
        self.lies: dict[str, Any] = {}
        self.made: list[str] = []
        self.listening = 0
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def stall(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    async def do(self, name: str, answer: Callable[[], Any]) -> Any:
        self.made.append(name)
        await self._goes_on.wait()
        if self.is_away:
            raise EngineAway("nobody listens there")
        if name in self.lies:
            lie = self.lies[name]
            if isinstance(lie, Exception):
                raise lie
            return lie
        return answer()

    async def connect(self) -> None:
        await self.do("connect", lambda: None)

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self.do("beat", lambda: self.board.beat(beat))

    async def leave(self, node: str, incarnation: str) -> None:
        await self.do("leave", lambda: self.board.leave(node, incarnation))

    async def nodes(self) -> Sequence[NodeRecord]:
        return await self.do("nodes", self.board.nodes)

    async def claim(
        self, node: str, incarnation: str, claim: Claim, *, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        return await self.do("claim", lambda: self.board.claim(node, incarnation, claim, now_ns, since_ms, entry))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        await self.do("hold", lambda: self.board.hold(node, incarnation, held))

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        return await self.do("release", lambda: self.board.release(node, incarnation, place))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        await self.do("released", lambda: self.board.released(node, incarnation, place))

    async def ring(self, message: bytes) -> None:
        await self.do("ring", lambda: self.board.send("", message))

    async def tell(self, incarnation: str, message: bytes) -> bool:
        return await self.do("tell", lambda: self.board.send(incarnation, message))

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        await self.do("listen", lambda: None)
        self.listening += 1
        mine = lambda message: None if self.is_deaf else heard(message)  # noqa: E731
        self.board.listeners.append(mine)
        self.board.told[incarnation] = lambda message: None if self.is_deaf else told(message)
        try:
            await asyncio.Event().wait()
        finally:
            self.board.listeners.remove(mine)
            self.board.told.pop(incarnation, None)

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        return await self.do("lease", lambda: self.board.leases.lease(incarnation, wanted, self.board.now_ms))

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        def put() -> bool:
            leases, now_ms = self.board.leases, self.board.now_ms
            if not leases.put(incarnation, queue, epoch, number, entry, memory=memory, now_ms=now_ms):
                return False
            for heard in list(self.board.hearers):
                heard(queue)
            return True

        return await self.do("put", put)

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        leases = self.board.leases
        read = lambda: leases.entries(queue, epoch, after, max_bytes=max_bytes, now_ms=self.board.now_ms)  # noqa: E731
        return await self.do("entries", read)

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        await self.do("hear", lambda: None)
        mine = lambda queue: None if self.is_deaf else heard(queue)  # noqa: E731
        self.board.hearers.append(mine)
        try:
            await asyncio.Event().wait()
        finally:
            self.board.hearers.remove(mine)

    async def close(self) -> None:
        pass
