"""Divides one budget of calls under way among canisters and clients. No I/O and no clock."""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from enum import Enum, auto

KEPT = 16
"""One part in so many is kept for openings, and one for close calls: newcomers get in, and leavers are reported,
however many messages wait."""
KEPT_DRAINING = 2
"""The same part for close calls while the gateway drains: everybody leaves, and there is a deadline."""
SHARE = 8
"""A canister begins a further call only while it has fewer than so many times the calls that are still free (dynamic
thresholds, Choudhury and Hahne 1998). Alone it gets 8/9 of the budget. Without that, one whose calls take 10 s would
fill it and free nothing for 10 s, and no rotation could help the others."""


class Kind(Enum):
    """What a call is for."""

    MESSAGE = auto()
    OPENING = auto()
    CLOSE = auto()

    # By identity, as it is compared. That of Enum is a Python function, and each call looks up kinds many times.
    __hash__ = object.__hash__


@dataclass(eq=False, slots=True)
class Ticket:
    """A call that wants to be under way. Compared by identity."""

    kind: Kind
    canister: bytes
    client: bytes
    size: int


_Clients = OrderedDict[bytes, deque[Ticket]]


@dataclass(slots=True)
class _Use:
    """Calls under way and their bytes."""

    calls: int = 0
    bytes: int = 0


class Scheduler:
    """The tickets that wait and those under way.

    Among the canisters that may begin a call the turn goes round, and within a canister it goes round its clients. A
    client's tickets keep their order. ``under_way``, ``bytes_under_way`` and ``waiting`` count all of them;
    ``calls`` and ``max_bytes`` are the budget.
    """

    def __init__(self, calls: int, max_bytes: int) -> None:
        """At least three calls, so that each kind has one."""
        self._is_draining = False
        self.resize(calls, max_bytes)
        self._waiting: dict[Kind, OrderedDict[bytes, _Clients]] = {kind: OrderedDict() for kind in Kind}
        self._used: dict[Kind, _Use] = {kind: _Use() for kind in Kind}
        self._held: dict[tuple[Kind, bytes], _Use] = {}
        self._started: dict[Ticket, int] = {}
        self.waiting = 0

    def resize(self, calls: int, max_bytes: int) -> None:
        """Change the budget. Calls under way go on, even above it."""
        self.calls, self.max_bytes = calls, max_bytes
        part = KEPT_DRAINING if self._is_draining else KEPT
        closing = _Use(max(1, calls // part), max_bytes // part)
        rest = _Use(calls - closing.calls, max_bytes - closing.bytes)
        messages = _Use(rest.calls - max(1, calls // KEPT), rest.bytes - max_bytes // KEPT)
        self._shares = {Kind.CLOSE: closing, Kind.OPENING: rest, Kind.MESSAGE: messages}
        """The most that a kind may have under way: close calls their kept part, openings all but that, messages all but
        both."""

    def drain(self, is_draining: bool) -> None:
        """Give close calls a larger part, or take it from them again. Calls under way go on."""
        self._is_draining = is_draining
        self.resize(self.calls, self.max_bytes)

    @property
    def under_way(self) -> int:
        """Calls that were started and not finished."""
        return sum(use.calls for use in self._used.values())

    @property
    def bytes_under_way(self) -> int:
        """Their bytes; a call larger than the share of its kind counts as that share."""
        return sum(use.bytes for use in self._used.values())

    def waiting_by_canister(self) -> Counter[bytes]:
        """The waiting calls of each canister that has any."""
        found: Counter[bytes] = Counter()
        for canisters in self._waiting.values():
            for canister, clients in canisters.items():
                found[canister] += sum(map(len, clients.values()))
        return found

    def under_way_by_canister(self) -> Counter[bytes]:
        """The calls under way of each canister that has any."""
        found: Counter[bytes] = Counter()
        for (_, canister), use in self._held.items():
            found[canister] += use.calls
        return found

    def has_started(self, ticket: Ticket) -> bool:
        """Whether a ticket is under way."""
        return ticket in self._started

    def begin(self, ticket: Ticket) -> bool:
        """Start a ticket at once where none waits and there is room; returns whether it did. Otherwise let it wait
        (``add``): it has the same turn as one that was added alone, at a quarter of the cost.
        """
        if self.waiting:
            return False
        free = self._free(ticket.kind)
        size = self._size(ticket)
        if free.calls <= 0 or size > free.bytes:
            return False
        held = self._held.get((ticket.kind, ticket.canister))
        if held is not None and (held.calls >= SHARE * free.calls or held.bytes >= SHARE * free.bytes):
            return False
        self._count(ticket, size)
        return True

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait for its turn. See ``start``."""
        clients = self._waiting[ticket.kind].setdefault(ticket.canister, OrderedDict())
        clients.setdefault(ticket.client, deque()).append(ticket)
        self.waiting += 1

    def cancel(self, ticket: Ticket) -> None:
        """Take out a ticket that waits, or finish one under way."""
        if ticket in self._started:
            self.finish(ticket)
            return
        clients = self._waiting[ticket.kind][ticket.canister]
        clients[ticket.client].remove(ticket)
        self._forget_empty(ticket)
        self.waiting -= 1

    def finish(self, ticket: Ticket) -> None:
        """A call is over; others may have their turn now."""
        size = self._started.pop(ticket)
        held = self._held[ticket.kind, ticket.canister]
        for use in (held, self._used[ticket.kind]):
            use.calls -= 1
            use.bytes -= size
        if not held.calls:
            del self._held[ticket.kind, ticket.canister]

    def start(self) -> list[Ticket]:
        """Start every ticket whose turn it is, and return them in order."""
        started = list[Ticket]()
        if not self.waiting:
            return started
        for kind in (Kind.CLOSE, Kind.OPENING, Kind.MESSAGE):
            while (ticket := self._next(kind)) is not None:
                self._begin(ticket)
                started.append(ticket)
        return started

    def _next(self, kind: Kind) -> Ticket | None:
        if not self._waiting[kind] or (free := self._free(kind)).calls <= 0:
            return None
        for canister, clients in self._waiting[kind].items():
            held = self._held.get((kind, canister))
            if held is not None and (held.calls >= SHARE * free.calls or held.bytes >= SHARE * free.bytes):
                continue
            ticket = next(iter(clients.values()))[0]
            # A large call waits for room, and the others with it: passed by smaller ones it would wait for ever.
            return ticket if self._size(ticket) <= free.bytes else None
        return None

    def _begin(self, ticket: Ticket) -> None:
        canisters, size = self._waiting[ticket.kind], self._size(ticket)
        clients = canisters[ticket.canister]
        clients[ticket.client].popleft()
        clients.move_to_end(ticket.client)
        canisters.move_to_end(ticket.canister)
        self._forget_empty(ticket)
        self.waiting -= 1
        self._count(ticket, size)

    def _count(self, ticket: Ticket, size: int) -> None:
        """A ticket is under way from now on."""
        self._started[ticket] = size
        used = self._used[ticket.kind]
        used.calls += 1
        used.bytes += size
        place = ticket.kind, ticket.canister
        if (held := self._held.get(place)) is None:
            self._held[place] = _Use(1, size)
        else:
            held.calls += 1
            held.bytes += size

    def _forget_empty(self, ticket: Ticket) -> None:
        canisters = self._waiting[ticket.kind]
        clients = canisters[ticket.canister]
        if not clients[ticket.client]:
            del clients[ticket.client]
        if not clients:
            del canisters[ticket.canister]

    def _size(self, ticket: Ticket) -> int:
        # What exceeds the share of its kind even alone could otherwise never be sent.
        return min(ticket.size, self._shares[ticket.kind].bytes)

    def _free(self, kind: Kind) -> _Use:
        """The part of its share that a kind may still take."""
        share, used = self._shares[kind], self._used[kind]
        if kind is Kind.CLOSE:
            return _Use(share.calls - used.calls, share.bytes - used.bytes)
        # Openings may take what messages leave, so that both together are bounded, too.
        both, other = self._shares[Kind.OPENING], self._used[Kind.MESSAGE if kind is Kind.OPENING else Kind.OPENING]
        calls, size = min(share.calls, both.calls - other.calls), min(share.bytes, both.bytes - other.bytes)
        return _Use(calls - used.calls, size - used.bytes)
