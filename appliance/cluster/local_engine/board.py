"""What the engine of a cluster holds, and how each method of ``engine.Engine`` changes it: values on a clock, no I/O.

The engine of the workers of one machine is made of it, and it is the model that the scripts at Redis are tested
against. Each method is one step, as each script is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.cluster.engine import (
    CLOSING_MS,
    DEAD_MS,
    ENDED_MS,
    FORGOTTEN_MS,
    HELD_MS,
    LATE_MS,
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
from appliance.cluster.limits.level_board import LevelBoard
from appliance.cluster.limits.levels import Spent
from appliance.cluster.local_engine.registry_board import RegistryBoard
from appliance.cluster.shared.lease_board import LeaseBoard
from appliance.cluster.shared.leases import Entries, Lease, Wanted
from appliance.errors import EngineAway
from appliance.gateway.nodes import Claim, Place

FOREVER_MS = 10**15
SWEEP_MS = 5_000
"""Between two times that what has expired is removed; before that it only counts for nothing."""


@dataclass
class Board:
    """What an engine holds that has never lost anything; `flush` makes it one that may have. ``now_ms`` is its clock,
    which its owner sets, and ``limit`` the most openings, places and clients that it holds together, and of
    keys of rates. ``keeps`` says whether messages that passed are kept, for tests.
    """

    now_ms: int = 0
    limit: int = FOREVER_MS
    keeps: bool = True
    facts: tuple[Facts, int] | None = None
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    infos: dict[str, tuple[int, str, NodeInfo]] = field(default_factory=dict)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    """The incarnation of each node that has a heartbeat and has not confirmed its places so far."""
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
    levels: LevelBoard = field(init=False)
    hearers: list[Callable[[bytes], None]] = field(default_factory=list)
    _swept_ms: int = 0

    def __post_init__(self) -> None:
        """Make what has a bound, or looks at the rest."""
        self.registry = RegistryBoard(self)
        self.levels = LevelBoard(self.limit)

    def __len__(self) -> int:
        """Openings, places and clients, also those that have expired since the last sweep."""
        return len(self.openings) + len(self.places) + len(self.registry.known)

    def sweep(self) -> None:
        """Remove what has expired, if that was not done lately."""
        if self.now_ms - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = self.now_ms
        self.levels.sweep(self.now_ms)
        self.openings = {key: value for key, value in self.openings.items() if value[1] > self.now_ms}
        self.places = {key: value for key, value in self.places.items() if value[1] > self.now_ms}
        if len(self) >= self.limit:  # what has ended is the first to go
            self.places = {key: value for key, value in self.places.items() if value[0][0] != "ended"}

    def make_room(self) -> None:
        """Raises EngineAway where there is none, as an engine does whose memory is full."""
        if len(self) >= self.limit:
            self.sweep()
        if len(self) >= self.limit:
            raise EngineAway(f"it holds {len(self)} openings, places and clients, as many as it may (cluster.claims)")

    def died(self, node: str) -> None:
        """The process that holds this name has ended, as its parent knows: the next one need not wait for the name.
        That it never left is still a reason to doubt claims.
        """
        self.names.pop(node, None)

    def flush(self) -> None:
        """Lose everything."""
        self.registry.clear()
        self.facts = self.doubted_until = None
        self.leases = LeaseBoard()
        self.levels = LevelBoard(self.limit)
        for each in (self.names, self.infos, self.unconfirmed, self.openings, self.places):
            each.clear()

    def send(self, to: str, message: bytes) -> bool:
        """Pass a message to a process, or (empty) to all. Returns whether anybody hears it."""
        if self.keeps:
            self.kept.append((to, message))
        is_heard = to in self.told
        for receiver, changed in self.rewrite(to, message):
            for each in list(self.listeners) if receiver == "" else [self.told.get(receiver)]:
                if each is not None:
                    each(changed)
        return is_heard

    def living(self, value: tuple[Any, int] | None) -> Any:
        """A value with its end, unless that has come."""
        return None if value is None or value[1] <= self.now_ms else value[0]

    def holder(self, place: Place) -> tuple[str, int, str, str] | None:
        """Who has a session of a place, or makes its close call: state, since when, incarnation and node."""
        found = self.living(self.places.get(place))
        return None if found is None or found[0] == "ended" else found

    def lives(self, incarnation: str, node: str) -> bool:
        """Whether a process holds the name of a node."""
        return (self.living(self.names.get(node)) or "").startswith(incarnation)

    def beat(self, beat: Beat) -> BeatAnswer:
        """See Engine."""
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
            self.registry.replaced(beat.node)
        self.doubted_until = doubt, self.now_ms + FORGOTTEN_MS
        self.facts = beat.facts, self.now_ms + DEAD_MS
        self.names[beat.node] = beat.value, self.now_ms + DEAD_MS
        self.infos[beat.node] = self.now_ms, beat.incarnation, beat.info
        if beat.is_confirmed:
            self.unconfirmed.pop(beat.node, None)
        else:
            self.unconfirmed[beat.node] = beat.incarnation
        return Joined(was_known, self.now_ms)

    def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        held = self.living(self.names.get(node))
        if held is not None and held.startswith(incarnation):
            del self.names[node]
            self.infos.pop(node, None)
            if not self.infos:
                self.facts = None

    def nodes(self) -> list[NodeRecord]:
        """See Engine."""
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
        """See Engine."""
        self.make_room()
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
        is_late = self.now_ms - since_ms > LATE_MS
        is_doubted = claim.request_id and (is_late or doubt is None or self.now_ms < doubt)
        if entry is not None and not (is_late or is_doubted):
            self.registry.known[node, entry.field] = entry.value
            self.registry.told_.pop((node, entry.field), None)
        return "doubted" if is_doubted else "granted"

    def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        if incarnation in self.registry.given:
            return
        for place, at_ms in held:
            since_ms = min(self.now_ms, at_ms)
            if place not in self.places:
                self.make_room()
            before = self.living(self.places.get(place))
            is_kept = before is not None and (
                (before[0] != "ended" and since_ms <= before[1] <= self.now_ms)
                # Another node that ended a session did so without knowing of this one.
                or (before[::3] == ("ended", node) and since_ms < before[1] <= self.now_ms)
            )
            if not is_kept or (before is not None and (before[0], before[3]) == ("held", node)):
                self.places[place] = ("held", since_ms, incarnation, node), self.now_ms + HELD_MS

    def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        name = self.living(self.names.get(node))
        if name is None or not name.startswith(incarnation):
            return "unknown"
        before = self.holder(place)
        if before is not None and before[3] != node:
            if self.lives(*before[2:]):
                return "taken"
            if before[2] not in self.registry.given:
                return "unknown"
        if self.registry.someone_silent(node):
            return "unknown"
        if place not in self.places:
            self.make_room()
        self.places[place] = ("closing", self.now_ms, incarnation, node), self.now_ms + CLOSING_MS
        return "free"

    def ring(self, message: bytes) -> None:
        """See Engine."""
        self.send("", message)

    def tell(self, incarnation: str, message: bytes) -> bool:
        """See Engine."""
        return self.send(incarnation, message)

    def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        """See Leases."""
        return self.leases.lease(incarnation, wanted, self.now_ms)

    def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        """See Leases."""
        is_put = self.leases.put(incarnation, queue, epoch, number, entry, memory=memory, now_ms=self.now_ms)
        if is_put:
            for heard in list(self.hearers):
                heard(queue)
        return is_put

    def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        """See Leases."""
        return self.leases.entries(queue, epoch, after, max_bytes=max_bytes, now_ms=self.now_ms)

    def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        """See Levels."""
        return self.levels.spend(spent, self.now_ms)

    def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        before = self.holder(place)
        if before is not None and (before[0], *before[2:]) == ("closing", incarnation, node):
            self.places[place] = ("ended", *before[1:]), self.now_ms + ENDED_MS
