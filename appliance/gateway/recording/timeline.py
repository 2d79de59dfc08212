"""The timeline of one connection: a bounded list of what happened, for operators who ask why it ended.

Entries hold times, sizes, numbers, request ids and the sentences of errors, never the payload of a message. Each is
packed into one ``bytes`` object. Every connection has a timeline and few are ever read: 50,000 connections with lists
of objects would need several times the memory and slow the garbage collector down.
"""

import re
import secrets
import sys
from struct import Struct
from typing import Literal, NamedTuple, TypeAlias

FIRST = 32
"""Entries from the beginning of a connection, which are always kept."""
LIMIT = 256
"""Entries that are kept in all: the first ones and, in a ring behind them, the latest."""
MAX_TEXT = 200
"""Characters of a text in an entry; longer ones are cut."""
ACCEPTED_ONLY = -1
"""The size of a reply to a call of which only acceptance is known."""

Kind = Literal[
    "accepted",
    "turned_away",
    "upgraded",
    "frame",
    "joined",
    "relayed",
    "answered",
    "failed",
    "opened",
    "delivered",
    "limited",
    "doubted",
    "pinged",
    "closing",
    "ended",
]
EndedBy = Literal["gateway", "client", "network"]
"""Who ended a connection."""
Fact: TypeAlias = int | float | str | bool | None


class _Layout(NamedTuple):
    """How an entry of one kind is packed: time, code, numbers by their names, and a text behind them."""

    kind: Kind
    numbers: tuple[str, ...]
    text: str | None
    struct: Struct


def _layout(kind: Kind, numbers: str = "", text: str | None = None) -> _Layout:
    """``numbers`` has ``name:format`` of each."""
    pairs = [pair.split(":") for pair in numbers.split()]
    return _Layout(kind, tuple(name for name, _ in pairs), text, Struct("<qB" + "".join(code for _, code in pairs)))


_LAYOUTS = (
    _layout("accepted"),
    _layout("turned_away", "status:H", "cause"),
    _layout("upgraded"),
    _layout("frame", "bytes:I"),
    _layout("joined"),
    _layout("relayed", "bytes:I waited_ns:q request_id:32s", "method"),
    _layout("answered", "took_ns:q bytes:q"),
    _layout("failed", "took_ns:q", "cause"),
    _layout("opened"),
    _layout("delivered", "poll:Q messages:I bytes:Q first_nonce:Q last_nonce:Q"),
    _layout("limited", "delay_ns:q enforced:?", "scope"),
    _layout("doubted", "", "cause"),
    _layout("pinged", "times:I"),
    _layout("closing", "code:H", "cause"),
    _layout("ended", "code:H by:B", "cause"),
)
_ENDED_BY: tuple[EndedBy, ...] = ("gateway", "client", "network")
_CODES: dict[Kind, int] = {layout.kind: code for code, layout in enumerate(_LAYOUTS)}
_FRAME, _RELAYED, _ANSWERED = _CODES["frame"], _CODES["relayed"], _CODES["answered"]
_DELIVERED, _PINGED = _CODES["delivered"], _CODES["pinged"]
_pack_frame, _pack_relayed, _pack_answered, _pack_delivered, _pack_pinged = (
    _LAYOUTS[code].struct.pack for code in (_FRAME, _RELAYED, _ANSWERED, _DELIVERED, _PINGED)
)
_NO_RUN, _PINGS = -1, -2
"""What the latest entry may grow by, beside the number of a poll (which is never negative)."""
_METHODS = {name: name.encode() for name in ("ws_open", "ws_message")}
_QUOTED = re.compile(r"(?<=Cannot parse header )[0-9a-f]+")
"""What the errors of the Candid library quote of a message that they cannot read."""


class TimelineEntry(NamedTuple):
    """One thing that happened, ``at_ns`` since 1970. ``facts`` can be written as JSON."""

    at_ns: int
    kind: Kind
    facts: dict[str, Fact]


class PollRecord(NamedTuple):
    """A poll that returned new messages: its number, when they are delivered (ns since 1970), and what the trace sink
    made of it.
    """

    number: int
    at_ns: int
    trace: object = None


NO_POLL = PollRecord(0, 0)
"""A poll that returned none."""


class ConnectionEnd(NamedTuple):
    """How a connection ended: when (ns since 1970), with which close code, by whom, and why: as a sentence, and as the
    label of the error, None where no error did.
    """

    at_ns: int
    code: int
    by: EndedBy
    cause: str
    reason: str | None


class Timeline:
    """What happened in one connection. Every recording method takes the time first, in nanoseconds since 1970.

    ``end`` is None while the connection exists. The counts include dropped entries. ``trace`` is what the trace sink
    made of it.
    """

    __slots__ = (
        *("_count", "_first_nonce", "_latest", "_entries", "_wraps", "_run", "_size", "address", "canister", "client"),
        *("delivered", "end", "failed", "frames", "generation", "id", "trace", "opened_at_ns", "path", "relayed"),
        "started_at_ns",
    )

    def __init__(self, at_ns: int) -> None:
        """A socket was accepted."""
        self.id = secrets.token_hex(6)  # among 50,000 that are there no two are alike
        self.started_at_ns = at_ns
        self.opened_at_ns: int | None = None
        self.end: ConnectionEnd | None = None
        self.address = self.path = self.generation = ""
        self.canister: str | None = None
        self.client: str | None = None
        self.trace: object = None
        self.frames = self.relayed = self.failed = self.delivered = 0
        self._entries: list[bytes] = []
        self._latest = -1
        self._wraps = 0
        self._run = _NO_RUN
        self._count = self._size = self._first_nonce = 0
        self._note(at_ns, "accepted")

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def total(self) -> int:
        """Number of entries that were recorded."""
        return self._wraps * (LIMIT - FIRST) + self._latest + 1

    @property
    def dropped(self) -> int:
        """Number of entries that were overwritten: those between the first ones and the latest."""
        return self.total - len(self._entries)

    @property
    def entries(self) -> list[TimelineEntry]:
        """The entries that are kept, oldest first."""
        packed = self._entries
        if self.dropped:
            oldest = self._latest + 1
            packed = [*packed[:FIRST], *packed[oldest:], *packed[FIRST:oldest]]
        return [_unpacked(entry) for entry in packed]

    # --- what is recorded -------------------------------------------------------------------------------------------

    def turned_away(self, at_ns: int, status: int, cause: str) -> None:
        """The HTTP request was answered with another status than 101."""
        self._note(at_ns, "turned_away", status, text=cause)

    def upgraded(self, at_ns: int, path: str, generation: str) -> None:
        """The WebSocket is established, for a wire generation."""
        self.path, self.generation = path.partition("?")[0][:MAX_TEXT], generation
        self._note(at_ns, "upgraded")

    def frame(self, at_ns: int, size: int) -> None:
        """A message of the client came."""
        self.frames += 1
        self._put(_pack_frame(at_ns, _FRAME, size))

    def joined(self, at_ns: int, canister: str, client: str) -> None:
        """The opening message was verified."""
        self.canister, self.client = sys.intern(canister), client  # one text for all clients of a canister
        self._note(at_ns, "joined")

    def relay(self, at_ns: int, method: str, request_id: bytes, size: int, waited_ns: int) -> None:
        """A call goes to the IC after it waited in the queue. ``request_id`` is empty where it is not known."""
        name = _METHODS.get(method) or _kept_text(method).encode(errors="replace")
        self._put(_pack_relayed(at_ns, _RELAYED, size, waited_ns, request_id) + name)

    def answered(self, at_ns: int, took_ns: int, size: int) -> None:
        """The IC answered the call, with so many bytes or `ACCEPTED_ONLY`."""
        self.relayed += 1
        self._put(_pack_answered(at_ns, _ANSWERED, took_ns, size))

    def relay_failed(self, at_ns: int, took_ns: int, cause: str) -> None:
        """The call came to nothing."""
        self.failed += 1
        self._note(at_ns, "failed", took_ns, text=cause)

    def opened(self, at_ns: int) -> None:
        """The session is open."""
        self.opened_at_ns = at_ns
        self._note(at_ns, "opened")

    def deliver(self, polled: PollRecord, nonce: int, size: int) -> None:
        """A message of the canister was delivered. The messages of one poll are one entry."""
        self.delivered += 1
        # A run: the latest entry is of the same poll. It is packed again with higher counts, or a burst of messages
        # would push everything else out of the ring. Any other entry ends the run (`_put`).
        number, at_ns, _ = polled
        if self._run == number:
            self._count += 1
            self._size += size
            self._entries[self._latest] = _pack_delivered(
                at_ns, _DELIVERED, number, self._count, self._size, self._first_nonce, nonce
            )
            return
        self._put(_pack_delivered(at_ns, _DELIVERED, number, 1, size, nonce, nonce))
        self._run, self._count, self._size, self._first_nonce = number, 1, size, nonce

    def limited(self, at_ns: int, scope: str, delay_ns: int, *, enforced: bool) -> None:
        """More came than is allowed."""
        self._note(at_ns, "limited", delay_ns, enforced, text=scope)

    def doubted(self, at_ns: int, cause: str) -> None:
        """Something does not verify, and is only reported."""
        self._note(at_ns, "doubted", text=cause)

    def pinged(self, at_ns: int) -> None:
        """The client was silent and is pinged. Pings in a row are one entry."""
        if self._run == _PINGS:
            self._count += 1
            self._entries[self._latest] = _pack_pinged(at_ns, _PINGED, self._count)
            return
        self._put(_pack_pinged(at_ns, _PINGED, 1))
        self._run, self._count = _PINGS, 1

    def closing(self, at_ns: int, code: int, cause: str) -> None:
        """The gateway closes the connection."""
        self._note(at_ns, "closing", code, text=cause)

    def ended(self, end: ConnectionEnd) -> None:
        """The socket is gone."""
        cause = _kept_text(end.cause)
        self.end = end._replace(cause=cause)
        self._note(end.at_ns, "ended", end.code, _ENDED_BY.index(end.by), text=cause)

    def _note(self, at_ns: int, kind: Kind, *numbers: int, text: str = "") -> None:
        code = _CODES[kind]
        self._put(_LAYOUTS[code].struct.pack(at_ns, code, *numbers) + _kept_text(text).encode(errors="replace"))

    def _put(self, packed: bytes) -> None:
        entries, latest = self._entries, self._latest + 1
        if latest == LIMIT:  # the ring begins after the first entries, which are never overwritten
            latest = FIRST
            self._wraps += 1
        if latest < len(entries):
            entries[latest] = packed
        else:
            entries.append(packed)
        self._latest = latest
        self._run = _NO_RUN


def _kept_text(text: str) -> str:
    """A text as it is stored: short, and without anything quoted from a message."""
    return _QUOTED.sub("…", text)[:MAX_TEXT]


def _unpacked(packed: bytes) -> TimelineEntry:
    layout = _LAYOUTS[packed[8]]
    at_ns, _, *numbers = layout.struct.unpack_from(packed)
    facts = {name: _fact(name, value) for name, value in zip(layout.numbers, numbers, strict=True)}
    if layout.text is not None:
        facts[layout.text] = packed[layout.struct.size :].decode()
    return TimelineEntry(at_ns, layout.kind, facts)


def _fact(name: str, value: int | bytes) -> Fact:
    if isinstance(value, bytes):
        return value.hex() if any(value) else None
    return _ENDED_BY[value] if name == "by" else value
