"""Keeps what clients hold within the memory of the process: reads those that hold most no more, then closes them."""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from appliance.errors import MemoryShort
from appliance.gateway.limits.holdings import NEWCOMERS, UNREAD, Holding, Holdings, Share
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sockets.reading import Pause

_log = structlog.get_logger(__name__)

AGAIN_S = 0.5
"""Time between looks at what is held, while it is too much."""
PATIENCE_S = 10.0
"""How long clients are not read before the largest is closed: one that is not read cannot finish its message, and so
might hold it for good."""


class Sheddable(Protocol):
    """A connection, as it is shed."""

    @property
    def holding(self) -> Holding:
        """What it holds."""

    @property
    def is_closing(self) -> bool:
        """Whether it ends anyway."""

    def close(self, error: Exception) -> None:
        """Close for this reason."""

    def pause_reading(self, reason: int) -> None:
        """Do not read it for this reason; for its memory, and if it closes, not even for its close frame."""

    def resume_reading(self, reason: int) -> None:
        """Read it again, if this was the last reason not to."""


class Shedding:
    """Acts when too much is held: ``Holdings.pressed`` is its ``begin``."""

    def __init__(
        self, holdings: Holdings, counters: Counters, connections: Callable[[], Collection[Sheddable]]
    ) -> None:
        self._holdings = holdings
        self._counters = counters
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._unread: dict[Sheddable, None] = {}
        self._since = 0.0
        holdings.pressed = self.begin

    def begin(self) -> None:
        """Look at what is held when the present callback is done."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0, self._look)

    def press(self, one: Sheddable) -> None:
        """Read no more of a client that brings bytes while too much is held, unless it holds less than the average.

        At once, not with the next look: a socket with much to read is read 32 times in one turn of the loop, and so are
        all others, which together is many times the limit.
        """
        if one.is_closing or one.holding.bytes * self._holdings.connections > self._holdings.bytes:
            self._pause(one)

    def stop(self) -> None:
        """Do nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop, holdings = asyncio.get_running_loop(), self._holdings
        is_exceeded = self._close_by_share()
        # Unlike those of one address, all bytes count here, also those on their way back: the process must not run out.
        if holdings.bytes > holdings.most_bytes:
            self._close_largest(holdings.bytes - UNREAD * holdings.most_bytes)
        elif holdings.bytes > UNREAD * holdings.most_bytes:
            if self._is_impatient():
                self._close_largest(1)
            else:
                self._pause_largest(holdings.bytes - NEWCOMERS * holdings.most_bytes)
        elif not holdings.is_full:
            self._resume_all()
            if not is_exceeded:
                self._timer = None
                return
        elif self._is_impatient():
            self._close_largest(1)  # those who are not read cannot finish what they hold: it may never get less
        self._timer = loop.call_later(AGAIN_S, self._look)

    def _is_impatient(self) -> bool:
        """Whether clients are not read since long, and in vain."""
        return bool(self._unread) and asyncio.get_running_loop().time() - self._since > PATIENCE_S

    def _largest(self) -> list[Sheddable]:
        open_ones = [one for one in self._connections() if not one.is_closing]
        return sorted(open_ones, key=lambda one: one.holding.bytes, reverse=True)

    def _close_by_share(self) -> bool:
        """Close the largest of each address, principal or canister that holds too much; returns whether one does."""
        excess = self._holdings.excess()
        if not excess:
            return False
        for one in self._connections():
            if one.is_closing:  # its bytes are on their way back
                self._take_off(excess, one)
        for one in self._largest():
            exceeded = [share for share in one.holding.shares if excess.get(share, 0) > 0]
            if exceeded:
                self._take_off(excess, one)
                self._close(one, exceeded[0].account.name)
        return True

    @staticmethod
    def _take_off(excess: dict[Share, float], one: Sheddable) -> None:
        for share in one.holding.shares:
            if share in excess:
                excess[share] -= one.holding.bytes

    def _close_largest(self, excess: float) -> None:
        self._since = asyncio.get_running_loop().time()
        for one in self._largest():
            if excess <= 0:
                return
            excess -= one.holding.bytes
            self._close(one, "limits.memory")

    def _close(self, one: Sheddable, limit: str) -> None:
        self._counters.shed["closed"] += 1
        one.close(MemoryShort(one.holding.bytes, limit))
        one.pause_reading(Pause.MEMORY)

    def _pause_largest(self, excess: float) -> None:
        for one in self._largest():
            if excess <= 0:
                return
            excess -= one.holding.bytes
            self._pause(one)

    def _pause(self, one: Sheddable) -> None:
        if not self._unread:
            self._since = asyncio.get_running_loop().time()
            _log.warning(
                "clients hold too much memory (limits.memory): the largest are not read for a while",
                bytes=self._holdings.bytes,
                limit=self._holdings.most_bytes,
            )
        if one not in self._unread:
            self._counters.shed["unread"] += 1
            self._unread[one] = None
            one.pause_reading(Pause.MEMORY)

    def _resume_all(self) -> None:
        for one in self._unread:
            one.resume_reading(Pause.MEMORY)
        self._unread.clear()
