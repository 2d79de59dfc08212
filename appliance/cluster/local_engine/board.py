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
    FORGOTTEN_MS,
    HELD_MS,
    MAX_CLAIM_MS,
    SILENT_MS,
    Beat,
    BeatAnswer,
    ClaimAnswer,
    Facts,
    Joined,
    NameHeld,
    NodeInfo,
    NodeRecord,
    OtherFacts,
    Release,
)
from appliance.errors import EngineAway
from appliance.gateway.nodes import Claim, Held, Place

FOREVER_MS = 10**15
SWEEP_MS = 5_000
"""Between two times that what has expired is removed; before that it only counts for nothing."""


@dataclass
class Board:
    """What an engine holds that has never lost anything; `flush` makes it one that may have. ``now_ms`` is its clock,
    which its owner sets, and ``limit`` the most openings and places that it holds together.
    """

    now_ms: int = 0
    limit: int = FOREVER_MS
    facts: tuple[Facts, int] | None = None
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    infos: dict[str, tuple[int, str, NodeInfo]] = field(default_factory=dict)
    openings: dict[tuple[bytes, bytes, bytes], tuple[str, int]] = field(default_factory=dict)
    places: dict[Place, tuple[tuple[str, int, str, str], int]] = field(default_factory=dict)
    listeners: list[Callable[[bytes], None]] = field(default_factory=list)
    doubted_until: tuple[int, int] | None = (0, FOREVER_MS)
    _swept_ms: int = 0

    def __len__(self) -> int:
        """Openings and places, also those that have expired since the last sweep."""
        return len(self.openings) + len(self.places)

    def sweep(self) -> None:
        """Remove what has expired, if that was not done lately."""
        if self.now_ms - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = self.now_ms
        self.openings = {key: value for key, value in self.openings.items() if value[1] > self.now_ms}
        self.places = {key: value for key, value in self.places.items() if value[1] > self.now_ms}

    def _make_room(self) -> None:
        """Raises EngineAway where there is none, as an engine does whose memory is full."""
        if len(self) >= self.limit:
            self.sweep()
        if len(self) >= self.limit:
            raise EngineAway(f"it holds {len(self)} openings and places, as many as it may (cluster.claims)")

    def flush(self) -> None:
        """Lose everything."""
        self.facts = self.doubted_until = None
        for each in (self.names, self.infos, self.openings, self.places):
            each.clear()

    def _living(self, value: tuple[Any, int] | None) -> Any:
        return None if value is None or value[1] <= self.now_ms else value[0]

    def _lives(self, incarnation: str, node: str) -> bool:
        return (self._living(self.names.get(node)) or "").startswith(incarnation)

    def beat(self, beat: Beat) -> BeatAnswer:
        """See Engine."""
        if (theirs := self._living(self.facts)) is not None and theirs != beat.facts:
            return OtherFacts(theirs)
        held = self._living(self.names.get(beat.node))
        if held is not None and not held.startswith(beat.incarnation) and held != beat.replaces:
            return NameHeld(held)
        was_known = held is not None and held.startswith(beat.incarnation)
        known = self._living(self.doubted_until)
        doubt = max(self.now_ms + MAX_CLAIM_MS if known is None else known, self.now_ms + beat.doubt_ms)
        at, before, _ = self.infos.get(beat.node, (0, beat.incarnation, None))
        if before != beat.incarnation:
            doubt = max(doubt, at + MAX_CLAIM_MS)
        self.doubted_until = doubt, self.now_ms + FORGOTTEN_MS
        self.facts = beat.facts, self.now_ms + DEAD_MS
        self.names[beat.node] = beat.value, self.now_ms + DEAD_MS
        self.infos[beat.node] = self.now_ms, beat.incarnation, beat.info
        return Joined(was_known)

    def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        held = self._living(self.names.get(node))
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
            elif self.now_ms - at > SILENT_MS and (doubt := self._living(self.doubted_until)) is not None:
                self.doubted_until = max(doubt, at + MAX_CLAIM_MS), self.now_ms + FORGOTTEN_MS
        return [
            NodeRecord(name, incarnation, self.now_ms - at, info)
            for name, (at, incarnation, info) in sorted(self.infos.items())
        ]

    def died(self, node: str) -> None:
        """The process that holds this name has ended, as its parent knows: the next one need not wait for the name.
        That it never left is still a reason to doubt claims.
        """
        self.names.pop(node, None)

    def claim(self, node: str, incarnation: str, claim: Claim, now_ns: int) -> ClaimAnswer:
        """See Engine."""
        self._make_room()
        if claim.place.group:
            held = self._living(self.places.get(claim.place))
            if held is not None and held[0] == "closing" and held[3] != node and self._lives(*held[2:]):
                return "leaving"
        if claim.request_id:
            key = (claim.place.canister_id, claim.client_key, claim.request_id)
            if (holder := self._living(self.openings.get(key))) not in (None, incarnation):
                return "used"
            if holder is None:
                left_ms = min(max(1, -(-(claim.expires_ns - now_ns) // 10**6)), MAX_CLAIM_MS)
                self.openings[key] = incarnation, self.now_ms + left_ms
        if claim.place.group:
            self.places[claim.place] = ("held", now_ns, incarnation, node), self.now_ms + HELD_MS
        doubt = self._living(self.doubted_until)
        is_doubted = claim.request_id and (doubt is None or self.now_ms < doubt)
        return "doubted" if is_doubted else "granted"

    def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        for place, since_ns in held:
            if place not in self.places:
                self._make_room()
            before = self._living(self.places.get(place))
            if before is None or (before[0] == "held" and (before[3] == node or before[1] < since_ns)):
                self.places[place] = ("held", since_ns, incarnation, node), self.now_ms + HELD_MS

    def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        name = self._living(self.names.get(node))
        if name is None or not name.startswith(incarnation):
            return "unknown"
        before = self._living(self.places.get(place))
        if before is not None and before[3] != node:
            return "taken" if self._lives(*before[2:]) else "unknown"
        if place not in self.places:
            self._make_room()
        self.places[place] = ("closing", 0, incarnation, node), self.now_ms + CLOSING_MS
        return "free"

    def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        if self._living(self.places.get(place)) == ("closing", 0, incarnation, node):
            del self.places[place]
