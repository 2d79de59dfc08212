"""The phases of a connection, from the accepted socket to its end."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

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
