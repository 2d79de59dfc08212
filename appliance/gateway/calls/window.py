"""The order of one client's calls: which may be sent now. No I/O and no clock: times are arguments, in seconds."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

OUTCOMES_PER_PLACE = 2
"""Calls under way for each place in the window, with those that are known to be executed: an endpoint that withholds
one outcome must not make them endless."""


@dataclass(slots=True)
class _Sent:
    """A call under way."""

    was_alone: bool
    is_barrier: bool
    is_accepted: bool = False
    is_executed: bool = False
    in_trouble: bool = False


_NONE_SENT = cast("dict[int, _Sent]", MappingProxyType({}))
"""Where no call is under way, as almost always: a dictionary that was used takes 160 bytes of each session."""


class SendWindow:
    """The calls of one client, by their numbers from 0 on, and how far each is.

    The IC executes the calls to a canister in the order in which a block maker received them, and canisters drop a
    client whose sequence numbers come out of order. So a call follows another only when the other is settled, or
    known to be in the pool of a replica ("accepted") for at least ``gap_s``. That is evidence; time since sending is
    none, because a lost packet or a retry delays a call by more than any gap.

    A call whose outcome is unknown may be known to be executed all the same: the canister took a later one of the
    client. Replicas answer when they know the state after the call, and some are blocks behind others. Such a call can
    be overtaken by none, and has no place in the window any more.

    ``limit`` bounds the calls that may not be executed yet; 1 is one after the other.
    """

    __slots__ = ("_accepted_at", "_barriers", "_limit", "_next", "_put", "_sent")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 0
        self._put = 0
        self._barriers: list[int] | tuple[()] = ()
        self._sent: dict[int, _Sent] = _NONE_SENT
        self._accepted_at = 0.0

    @property
    def waiting(self) -> int:
        """Calls that are not sent yet."""
        return self._put - self._next

    @property
    def under_way(self) -> int:
        """Calls that are sent and not settled."""
        return len(self._sent)

    def put(self, *, barrier: bool = False) -> int:
        """Add a call behind all others and return its number. A barrier is never under way together with another."""
        number = self._put
        self._put += 1
        if barrier:
            self._barriers = [*self._barriers, number]
        return number

    def send(self, now: float, *, gap_s: float, limit: int) -> int | None:
        """Send the next call if it may go, and return its number. ``limit`` is the canister's, beside our own."""
        if self._put == self._next:
            return None
        if self._sent and (not self._has_room(limit) or now < self._follows_at(gap_s)):
            return None
        number = self._next
        self._next += 1
        for other in self._sent.values():
            other.was_alone = False
        is_barrier = number in self._barriers
        if not self._sent:
            self._sent = {}
        self._sent[number] = _Sent(was_alone=not self._sent, is_barrier=is_barrier)
        if is_barrier:
            self._barriers = [other for other in self._barriers if other != number] or ()
        return number

    def due_at(self, *, gap_s: float, limit: int) -> float | None:
        """When the next call may go, if nothing else happens; None if time alone changes nothing."""
        return self._follows_at(gap_s) if self._has_room(limit) else None

    def to_confirm(self, *, limit: int) -> int | None:
        """The call under way whose acceptance would let the next one go; None where it would not."""
        if not self.waiting or self._next in self._barriers or self._is_full(limit):
            return None
        pending = self._pending()
        held_by = [number for number, sent in pending.items() if not sent.is_accepted]
        if len(held_by) != 1 or any(sent.in_trouble or sent.is_barrier for sent in pending.values()):
            return None
        return held_by[0]

    def was_alone(self, number: int) -> bool:
        """Whether no other call was under way at any time while this one is."""
        return self._sent[number].was_alone

    def accepted(self, number: int, now: float) -> None:
        """A replica is known to have the call in its pool. Means nothing for a settled one."""
        if (sent := self._sent.get(number)) is not None and not sent.is_accepted:
            sent.is_accepted = True
            self._accepted_at = now

    def troubled(self, number: int) -> None:
        """Something went wrong with the call, which is tried again: nothing follows until it is settled."""
        if (sent := self._sent.get(number)) is not None:
            sent.in_trouble = True

    def settled(self, number: int, *, was_executed: bool = False) -> bool:
        """The outcome of the call is known: that the canister took it, if it ``was_executed``. Returns whether it
        ``was_alone``."""
        was_alone = number not in self._sent or self._sent[number].was_alone
        if number in self._sent:
            del self._sent[number]
        if not self._sent:
            self._sent = _NONE_SENT
        for earlier, sent in self._sent.items():
            sent.is_executed |= was_executed and earlier < number
        return was_alone

    def failed(self, number: int) -> None:
        """The call came to nothing. Those that wait are forgotten: the canister would refuse them."""
        self.settled(number)
        self.clear()

    def clear(self) -> None:
        """Forget the calls that wait. Those under way go on."""
        self._next = self._put
        self._barriers = ()

    def _pending(self) -> dict[int, _Sent]:
        """The calls under way that may not be executed yet."""
        return {number: sent for number, sent in self._sent.items() if not sent.is_executed}

    def _is_full(self, limit: int) -> bool:
        limit = min(self._limit, limit)
        return len(self._pending()) >= limit or len(self._sent) >= OUTCOMES_PER_PLACE * limit

    def _has_room(self, limit: int) -> bool:
        if self._put == self._next:
            return False
        if not self._sent:
            return True
        if self._is_full(limit) or self._next in self._barriers:
            return False
        pending = self._pending().values()
        return all(sent.is_accepted and not sent.in_trouble and not sent.is_barrier for sent in pending)

    def _follows_at(self, gap_s: float) -> float:
        # Whatever is executed cannot be overtaken any more.
        return self._accepted_at + gap_s if self._pending() else float("-inf")
