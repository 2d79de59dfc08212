"""Judges a run: what the canisters logged against what their clients saw."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

from appliance.client.errors import ConnectionClosed
from appliance.localnet.websocket.dialect import Generation
from tests.cluster.schedules.canister import Opening, Room
from tests.cluster.schedules.clients import Session

CUT = 1006
"""What a client sees of a node that is killed: its socket ends without a close frame."""
GIVEN_UP = (4113, 4102)
"""How sessions end of a node that others have given up: by the node, once it notices, or by the canister, which refuses
the next message of a client that it was told has left.
"""
FORGOTTEN = (4102, 4103, 4120, 4122)
"""With these sessions end whose canister has forgotten them: it refuses a message, or its queue begins anew."""
STANDS_STILL = 1011
"""With this a client ends a session whose node does not answer its pings."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages in both directions: ``sent`` by clients and canister, ``delivered`` to the other side, ``told`` those of
    sessions that ended, ``lost`` those of sessions that are open, and ``doubled`` those that came more than once.
    """

    sent: int = 0
    delivered: int = 0
    told: int = 0
    lost: int = 0
    doubled: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def tally_of(session: Session, room: Room) -> Tally:
    """The messages of a session."""
    total = Tally()
    opening = _opening(session, room)
    ways = ((session.sent, room.received[session.name]), (opening.sent if opening else [], session.received))
    for sent, got in ways:
        doubled = (Counter(got) - Counter(sent)).total()
        missing = len(sent) - (len(got) - doubled)
        told, lost = (0, missing) if session.end is None else (missing, 0)
        total += Tally(len(sent), len(got) - doubled, told, lost, doubled)
    return total


def problems_of(session: Session, room: Room, may_end: Iterable[int]) -> Iterator[str]:
    """What is wrong with a session. ``may_end`` are the close codes that the faults at its node allow."""
    opening = _opening(session, room)
    sent = opening.sent if opening else []
    if session.received != sent[: len(session.received)]:
        yield f"{session.name} at {session.node} received {session.received}, the canister sent {sent}"
    received = room.received[session.name]
    if received != session.sent[: len(received)]:
        yield f"{session.name} at {session.node} sent {session.sent}, the canister received {received}"
    if session.end is not None:
        end = session.end
        if not isinstance(end, ConnectionClosed) or end.code not in may_end:
            yield f"{session.name} at {session.node} was ended by a fault that is not its own or its node's: {end!r}"
    elif len(session.received) < len(sent):
        yield f"{session.name} at {session.node} is open, and lost {sent[len(session.received) :]}"
    elif len(received) < len(session.sent):
        yield f"{session.name} at {session.node} is open, and the canister lost {session.sent[len(received) :]}"


def untold(room: Room, ended: Iterable[int], living: Iterable[int]) -> Iterator[str]:
    """Connections that the canister has wrongly, by their numbers: still, or not any more."""
    for number in living:
        if room.openings[number].removals:
            yield f"{room.dialect.generation}: opening {number} is removed, and its client is there"
    for number in ended:
        opening = room.openings[number]
        if not opening.removals and not (opening.is_replaced and room.dialect.generation != "v2"):
            yield f"{room.dialect.generation}: nobody told of the end of opening {number}"


def told_twice(rooms: Mapping[Generation, Room]) -> int:
    """How many close calls were made for clients of which the canister knew already. A key of v0 may have had as many
    as it had sessions."""
    twice = 0
    for generation, room in rooms.items():
        for key, count in room.told.items():
            allowed = 1 if generation != "v0" else max(1, sum(_named(each) == key for each in room.openings))
            twice += max(0, count - allowed)
    return twice


def _named(opening: Opening) -> str:
    return repr(opening.connection.key.to_candid())


def _opening(session: Session, room: Room) -> Opening | None:
    return None if session.opening is None else room.openings[session.opening]
