"""The phases of a connection, from the accepted socket to its end."""

import asyncio
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

from appliance.config.schema import Gateway as Settings

C = TypeVar("C")


class Phase(Enum):
    """How far a connection is. ``connection.TIMERS`` has the limit of each. Phases are entered from the top down, but
    OPEN, PINGED and UNREAD alternate; from CLOSING only CLOSED follows.
    """

    REQUEST = auto()
    """Until the HTTP request is whole and answered."""
    UPGRADED = auto()
    """The WebSocket is established; until the client's opening message is verified."""
    JOINED = auto()
    """The client is registered; until the canister accepted it."""
    OPEN = auto()
    """Messages flow."""
    PINGED = auto()
    """A ping waits for any sign of life."""
    UNREAD = auto()
    """The session is open, but its socket is not read, because the client's messages wait for the IC or the gateway
    holds too much. Its silence means nothing then. The calls that wait bound this phase: it ends when there is room, or
    when one of them expires."""
    STOPPING = auto()
    """The gateway stops before the request is whole: only the answer 503 is left."""
    CLOSING = auto()
    """The close frame or the HTTP rejection is written, or the client has ended its side."""
    CLOSED = auto()
    """The socket is gone."""


class Timer(NamedTuple, Generic[C]):
    """The limit of a phase: its length by the settings, None for no limit, and what happens to the connection at its
    end.

    With ``continues`` the timer of the phase before goes on, and acts as this phase has it.
    """

    limit_s: Callable[[Settings], float] | None
    act: Callable[[C], None]
    continues: bool = False


TICKS = 128
"""The moments at which shared timers end in the length of one: each ends at most so small a part of it late."""


class Expiring(Protocol):
    """A connection, as its timer uses it."""

    def expire(self) -> None:
        """The time is over. Never raises."""


class Timers:
    """The timers of all connections. Those of silent ones share a timer of the loop with others that end at about the
    same time: it takes 0.8 KiB, and most connections are silent most of their time.
    """

    def __init__(self) -> None:
        self._shared: dict[float, list[Expiring]] = {}
        self._ending: list[Expiring] = []

    def __len__(self) -> int:
        """The number of shared timers that run."""
        return sum(map(len, self._shared.values()))

    def start(
        self, connection: Expiring, seconds: float, *, shared: float | None = None
    ) -> asyncio.TimerHandle | float:
        """Call ``expire`` in so many seconds. Returns what ``cancel`` takes.

        With ``shared``, the longest time of such timers in seconds, it is called up to 1 / ``TICKS`` of that later.
        """
        loop = asyncio.get_running_loop()
        if shared is None:
            return loop.call_later(seconds, connection.expire)
        tick = shared / TICKS
        at = tick * math.ceil((loop.time() + seconds) / tick)
        if (waiting := self._shared.get(at)) is None:
            self._shared[at] = [connection]
            loop.call_at(at, self._end, at)
        else:
            waiting.append(connection)
        return at

    def cancel(self, connection: Expiring, timer: asyncio.TimerHandle | float) -> None:
        """Do not call it. Does nothing once it was called."""
        if not isinstance(timer, float):
            timer.cancel()
        elif connection in (waiting := self._shared.get(timer, self._ending)):
            waiting.remove(connection)

    def _end(self, at: float) -> None:
        # Out of ``_shared`` first: a timer that begins meanwhile and ends in the same tick waits for another turn.
        self._ending = self._shared.pop(at)
        while self._ending:  # no copy: each may cancel another
            self._ending.pop().expire()
