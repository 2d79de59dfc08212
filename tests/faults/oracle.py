"""Judges a run: what the canister logged against what its clients saw."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

from appliance.client.errors import ClosedByCanister, ConnectFailed, ConnectionClosed, MessageError
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

FORBIDDEN = frozenset({1000, 1002, 1003, 1006, 1007, 1008, 1009, 1010, 1011})
"""Close codes that blame the client, or that say nothing: no fault of the IC may lead to one."""


@dataclass
class SessionRecord:
    """What one session of a client sent and received, and how it ended: None while it is open."""

    client: str
    principal: Principal
    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    end: GatewayError | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages in both directions: ``offered`` by clients and canister, ``delivered`` to the other side, ``told_lost``
    those of sessions that were closed with a code that says so, ``silently_lost`` those of sessions that are open, and
    ``repeated`` those that came more than once.
    """

    offered: int = 0
    delivered: int = 0
    told_lost: int = 0
    silently_lost: int = 0
    repeated: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def tally_of(session: SessionRecord, canister_received: Sequence[str], canister_sent: Sequence[str]) -> Tally:
    """The messages of a session, by the log of the canister about its client."""
    total = Tally()
    for offered, got in ((session.sent, canister_received), (canister_sent, session.received)):
        repeated = (Counter(got) - Counter(offered)).total()
        delivered = len(got) - repeated
        lost = len(offered) - delivered
        told, silent = (0, lost) if session.end is None else (lost, 0)
        total += Tally(len(offered), delivered, told, silent, repeated)
    return total


def problems_of(
    session: SessionRecord, canister_received: Sequence[str], canister_sent: Sequence[str]
) -> Iterable[str]:
    """What is wrong with a session, by the log of the canister about its client."""
    if session.received != list(canister_sent[: len(session.received)]):
        yield f"{session.client} received {session.received}, the canister sent {list(canister_sent)}"
    if list(canister_received) != session.sent[: len(canister_received)]:
        yield f"{session.client} sent {session.sent}, the canister received {list(canister_received)}"
    if session.end is None:
        yield from _silently_lost(session, canister_received, canister_sent)
    else:
        yield from _wrong_end(session)


def _silently_lost(
    session: SessionRecord, canister_received: Sequence[str], canister_sent: Sequence[str]
) -> Iterable[str]:
    if len(session.received) < len(canister_sent):
        missing = list(canister_sent[len(session.received) :])
        yield f"silently lost: {session.client} is open and did not get {len(missing)} messages, first {missing[0]!r}"
    if len(canister_received) < len(session.sent):
        missing = session.sent[len(canister_received) :]
        yield f"silently lost: the canister did not get {len(missing)} messages of {session.client}, which is open"


def _wrong_end(session: SessionRecord) -> Iterable[str]:
    end = session.end
    if isinstance(end, MessageError):
        yield f"{session.client} was sent a wrong message: {end}"
    elif isinstance(end, ClosedByCanister):
        yield f"{session.client} was closed by the canister: {end}"
    elif isinstance(end, ConnectFailed):
        yield f"{session.client} found no gateway: {end}"
    elif not isinstance(end, ConnectionClosed):
        yield f"{session.client} gave up: {end!r}"
    elif end.code in FORBIDDEN or 4500 <= end.code <= 4999:
        yield f"{session.client} was closed for a fault that is not its own: {end}"
