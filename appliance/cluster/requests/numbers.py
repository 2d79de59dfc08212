"""Numbers of sealed messages: each is used once, and says when it was made. Values without I/O."""

import heapq
from collections.abc import Callable

REMEMBERED = 1024
"""Numbers of a sender, and senders, of which each is remembered; of earlier ones nothing is accepted any more."""


class Numbers:
    """Gives the numbers of one sender: ns since 1970, and higher than any before, whatever its clock does."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """The next number."""
        self._last = max(self._last + 1, self._clock())
        return self._last


class Seen:
    """The numbers that came from each sender. They may come in another order than they were given, within the last
    ``REMEMBERED`` ones. It depends on no clock: what was accepted once is never accepted again.
    """

    def __init__(self, remembered: int = REMEMBERED, *, floor: int = 0) -> None:
        """Numbers up to ``floor`` count as seen."""
        self._remembered = remembered
        self._senders: dict[bytes, _Sender] = {}
        self._floor = floor

    def __contains__(self, which: tuple[bytes, int]) -> bool:
        sender, number = which
        known = self._senders.get(sender)
        return number <= self._floor if known is None else number in known

    def add(self, sender: bytes, number: int) -> bool:
        """Returns False for a number that was seen, or is too early to be sure of that."""
        if (sender, number) in self:
            return False
        known = self._senders.get(sender)
        if known is None:
            if len(self._senders) >= self._remembered:
                self._forget()
            known = self._senders[sender] = _Sender(self._floor)
        known.add(number, self._remembered)
        return True

    def _forget(self) -> None:
        """Forget the sender that sent nothing for the longest time. What is not later than its last number is accepted
        of no unknown sender from now on.
        """
        sender = min(self._senders, key=lambda each: self._senders[each].highest)
        self._floor = max(self._floor, self._senders.pop(sender).highest)


class _Sender:
    def __init__(self, floor: int) -> None:
        self.highest = floor
        self._floor = floor
        self._recent: set[int] = set()
        self._order: list[int] = []

    def __contains__(self, number: int) -> bool:
        return number <= self._floor or number in self._recent

    def add(self, number: int, remembered: int) -> None:
        self.highest = max(self.highest, number)
        self._recent.add(number)
        heapq.heappush(self._order, number)
        if len(self._order) > remembered:
            self._floor = heapq.heappop(self._order)
            self._recent.discard(self._floor)
