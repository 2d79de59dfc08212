"""The part of the board that knows who may be known to which canister, as the scripts at Redis are meant."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from appliance.cluster.engine import CLOSING_MS, FORGOTTEN_MS, SILENT_MS, NodeInfo
from appliance.cluster.local_engine.by_node import ByNode
from appliance.cluster.registry.engine import ATTESTED_MS, GIVER_MS, PAGE, PAST, Owner, Page, Suspect
from appliance.gateway.nodes import Holding, Place


class Places(Protocol):
    """The board, as its registry uses it."""

    now_ms: int
    infos: dict[str, tuple[int, str, NodeInfo]]
    unconfirmed: dict[str, str]
    places: dict[Place, tuple[tuple[str, int, str, str], int]]

    def make_room(self) -> None:
        """Raises EngineAway where there is none."""

    def living(self, value: tuple[Any, int] | None) -> Any:
        """A value with its end, unless that has come."""

    def holder(self, place: Place) -> tuple[str, int, str, str] | None:
        """Who has a session of a place, or makes its close call: state, since when, incarnation and node."""

    def lives(self, incarnation: str, node: str) -> bool:
        """Whether a process holds the name of a node."""

    def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""


@dataclass
class RegistryBoard:
    """The registry of ``board``."""

    board: Places
    known: ByNode[bytes] = field(default_factory=ByNode)
    telling: ByNode[tuple[str, str, int, bytes]] = field(default_factory=ByNode)
    told_: ByNode[tuple[str, int]] = field(default_factory=ByNode)
    given: dict[str, Literal["given", "returned"]] = field(default_factory=dict)
    givers: dict[str, tuple[str, int]] = field(default_factory=dict)
    attested: dict[str, int] = field(default_factory=dict)
    gave: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    past: dict[tuple[str, str], tuple[int, str, NodeInfo]] = field(default_factory=dict)

    def clear(self) -> None:
        """Lose everything."""
        for each in (self.known, self.telling, self.told_, self.given, self.givers, self.gave, self.past, self.numbers):
            each.clear()
        self.attested.clear()

    def write(self, node: str, incarnation: str, changes: Mapping[bytes, bytes | None]) -> bool:
        """See Registry."""
        if not self.board.lives(incarnation, node):
            return False
        # Never for removals: they make room, and what an engine keeps of clients does not expire.
        if any(value is not None and (node, each) not in self.known for each, value in changes.items()):
            self.board.make_room()
        for each, value in changes.items():
            self.told_.pop((node, each), None)
            if value is None:
                self.known.pop((node, each), None)
            else:
                self.known[node, each] = value
        return True

    def replaced(self, node: str) -> None:
        """Another process has this name from now on."""
        record = self.board.infos[node]
        self.past[record[1], node] = record
        of_name = [key for key in self.past if key[1] == node]
        if len(of_name) > PAST:
            del self.past[min(of_name, key=lambda key: self.past[key][0])]

    def suspects(self) -> list[Suspect]:
        """See Registry."""
        found = []
        records = [(name, False, each) for name, each in self.board.infos.items()]
        records += [(name, True, each) for (_, name), each in self.past.items()]
        for name, is_past, (at, incarnation, info) in records:
            given: Literal["", "given", "returned"] = self.given.get(incarnation, "")
            if not given and self.board.now_ms - at > FORGOTTEN_MS:
                continue
            by, when = self.gave.get(incarnation, ("", 0))
            told = self.numbers[incarnation]
            silent_ms = max(0, self.board.now_ms - at)
            clients, attested = len(self.known.of(name)), self._is_attested(incarnation)
            found.append(Suspect(name, incarnation, silent_ms, info, is_past, given, by, when, clients, told, attested))
        return sorted(found, key=lambda each: (each.node, each.incarnation))

    def attest(self, node: str, incarnation: str, owner: Owner) -> None:
        """See Registry."""
        if self.board.lives(incarnation, node):
            self.attested = {key: until for key, until in self.attested.items() if until > self.board.now_ms}
            self.attested[owner.incarnation] = self.board.now_ms + ATTESTED_MS

    def _is_attested(self, incarnation: str) -> bool:
        return self.attested.get(incarnation, 0) > self.board.now_ms

    def give_up(self, node: str, incarnation: str, owner: Owner, after_ms: int) -> bool:
        """See Registry."""
        board = self.board
        if not board.lives(incarnation, node) or board.lives(owner.incarnation, owner.node):
            return False
        given = self.given.get(owner.incarnation)
        if given != "given":
            # One that has returned may die before the engine knows the process that goes on.
            past = None if given else self.past.get((owner.incarnation, owner.node))
            records = board.infos.get(owner.node), past
            if self._is_attested(owner.incarnation):
                return False
            if not any(it and it[1] == owner.incarnation and board.now_ms - it[0] >= after_ms for it in records):
                return False
            self.given[owner.incarnation] = "given"
            self.gave[owner.incarnation] = node, board.now_ms
        giver, until = self.givers.get(owner.incarnation, ("", 0))
        if until > board.now_ms and giver != incarnation:
            return False
        self.givers[owner.incarnation] = incarnation, board.now_ms + GIVER_MS
        return True

    def clients(self, owner: Owner, start: bytes) -> Page:
        """See Registry."""
        every = {each: value for each, (_, _, _, value) in self.telling.of(owner.node).items()}
        every |= self.known.of(owner.node)
        found = [each for each in every.items() if each[0] > start and each[1].startswith(owner.incarnation.encode())]
        page = dict(heapq.nsmallest(PAGE, found))
        return Page(page, max(page) if len(page) < len(found) else b"")

    def drop(self, owner: Owner, key: bytes) -> None:
        """See Registry."""
        self.known.pop((owner.node, key), None)
        self.telling.pop((owner.node, key), None)

    def tell(  # noqa: PLR0911, PLR0912 - in one piece, as the script
        self, node: str, incarnation: str, owner: Owner, key: bytes, place: Place, *, earlier_ms: int
    ) -> Holding:
        """See Registry."""
        board, is_own = self.board, owner.node == node
        if not board.lives(incarnation, node):
            return "unknown"
        if (by := self.telling.get((owner.node, key))) is not None:
            if by[0] != incarnation and board.lives(by[0], by[1]):
                return "unknown"
            entry: bytes | None = by[3]
        else:
            entry = self.known.get((owner.node, key))
        if not is_own:
            if entry is None or entry[:16] != owner.incarnation.encode():
                return "taken"
            if self.given.get(owner.incarnation) != "given":
                if by is not None:
                    self._give_back(node, incarnation, owner, key, place)
                return "taken"
        elif by is None and self.told_.get((owner.node, key), ("", 0))[1] > earlier_ms:
            return "taken"
        if not place.group and any(self._has(name, key) for name in board.infos if name != owner.node):
            self.drop(owner, key)
            return "taken"
        if place.group:
            held = board.holder(place)
            if held is not None:
                state, _, holder, name = held
                if board.lives(holder, name) and (name != node or (state == "held" and not is_own)):
                    self.drop(owner, key)
                    return "taken"
                is_owners = name == owner.node and (is_own or holder == owner.incarnation)
                if name != node and not is_owners and holder not in self.given:
                    return "unknown"
            if self.someone_silent(node):
                return "unknown"
            board.places[place] = ("closing", board.now_ms, incarnation, node), board.now_ms + CLOSING_MS
        if entry is not None:
            self.known.pop((owner.node, key), None)
            self.telling[owner.node, key] = incarnation, node, board.now_ms, entry
        return "free"

    def _give_back(self, node: str, incarnation: str, owner: Owner, key: bytes, place: Place) -> None:
        """A node did not hear that it might tell, and now the owner does it."""
        *_, entry = self.telling.pop((owner.node, key))
        self.known.setdefault((owner.node, key), entry)
        held = self.board.holder(place)
        if held is not None and (held[0], *held[2:]) == ("closing", incarnation, node):
            del self.board.places[place]

    def told(self, node: str, incarnation: str, owner: Owner, key: bytes, place: Place, *, is_told: bool) -> None:
        """See Registry."""
        if place.group:
            self.board.released(node, incarnation, place)
        by = self.telling.get((owner.node, key))
        if by is None or by[0] != incarnation:
            return
        del self.telling[owner.node, key]
        if is_told and owner.node != node:
            self.told_[owner.node, key] = by[3][:16].decode(), by[2]
            self.numbers[by[3][:16].decode()] += 1
        elif not is_told:
            self.known.setdefault((owner.node, key), by[3])

    def returned(self, node: str, incarnation: str) -> dict[bytes, int]:
        """See Registry."""
        if incarnation in self.given:
            self.given[incarnation] = "returned"
        self.givers.pop(incarnation, None)
        if (record := self.board.infos.get(node)) is not None and record[1] == incarnation:
            self.board.infos[node] = self.board.now_ms, *record[1:]  # a sign of life, as a heartbeat
        found = {
            key: since
            for key, (_, _, since, entry) in self.telling.of(node).items()
            if entry[:16] == incarnation.encode()
        }
        return found | {key: since for key, (who, since) in self.told_.of(node).items() if who == incarnation}

    def holds(self, incarnation: str, places: Sequence[Place]) -> list[bool]:
        """See Registry."""
        held = [self.board.holder(each) for each in places]
        return [each is not None and (each[0], each[2]) == ("held", incarnation) for each in held]

    def someone_silent(self, but: str) -> bool:
        """Whether a node but this one has no heartbeat, or has not confirmed its places, and is not given up; or has
        returned, and has not been heard of as the process that goes on.
        """
        board = self.board
        return any(
            name != but
            and (
                self.given.get(incarnation) == "returned"
                or (
                    (board.now_ms - at > SILENT_MS or board.unconfirmed.get(name) == incarnation)
                    and self.given.get(incarnation) != "given"
                )
            )
            for name, (at, incarnation, _) in board.infos.items()
        )

    def _has(self, name: str, key: bytes) -> bool:
        incarnation = self.board.infos[name][1]
        entry = self.known.get((name, key))
        return entry is not None and entry[:16] == incarnation.encode() and self.board.lives(incarnation, name)
