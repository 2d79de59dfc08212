"""Whether, where and when a client reconnects. Pure values: nothing here waits, connects or reads a clock."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Self, TypeAlias

from appliance.client.errors import ClosedByCanister, ConnectionClosed, MessageError, OtherGeneration, OutOfTurn
from appliance.errors import GatewayError, Malformed, TextFrame


class Verdict(Enum):
    """Where a client may connect after the end of a session or of an attempt to open one."""

    COME_BACK = "to the next gateway in turn, and to this one again when its turn comes"
    ELSEWHERE = "to the other gateways, never again to this one"
    STAY_AWAY = "to none"


def verdict(cause: GatewayError) -> Verdict:
    """The verdict on an end. A close by the canister, or with a code that forbids it, ends the connection for good; a
    gateway that broke the protocol is not used again; otherwise the range of the close code decides."""
    match cause:
        case ClosedByCanister():
            return Verdict.STAY_AWAY
        case MessageError() | OutOfTurn() | OtherGeneration() | TextFrame() | Malformed():
            return Verdict.ELSEWHERE
        case ConnectionClosed(code=1000):
            return Verdict.STAY_AWAY
        case ConnectionClosed():
            closed = cause
        case _:
            closed = ConnectionClosed(cause.close_code, "")
    return Verdict.COME_BACK if closed.come_back else Verdict.STAY_AWAY


@dataclass(frozen=True)
class Backoff:
    """The waits between attempts to reopen a lost session. Times are in seconds."""

    first: float = 0.5
    """Before the first attempt."""
    factor: float = 2.0
    """The factor by which each failed attempt lengthens the wait."""
    longest: float = 30.0
    """The longest wait. A session that lasts longer than this resets the wait to ``first``."""
    jitter: float = 0.5
    """How much of the wait is random, 0 to 1: clients of one gateway must not reconnect at the same moment."""
    attempts: int | None = None
    """How many attempts may fail in a row before the connection ends with the last error; None for no limit."""

    def __post_init__(self) -> None:
        """Raises ValueError for values out of range."""
        if not 0 <= self.first <= self.longest:
            raise ValueError("a backoff needs 0 <= first <= longest")
        if not 1 <= self.factor <= 100 or not 0 <= self.jitter <= 1:
            raise ValueError("a backoff needs a factor from 1 to 100, and a jitter from 0 to 1")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("a backoff needs 1 attempt or more, or None for no limit")

    def wait_s(self, tries: int, *, chance: float) -> float:
        """The wait after so many attempts; `chance` is from 0 to 1, 0 for the whole wait."""
        whole = min(self.longest, self.first * self.factor ** min(tries, 64))
        return whole * (1 - self.jitter * chance)


@dataclass(frozen=True)
class ReconnectState:
    """The gateways that may still be used, the current or next one first, with the attempts so far."""

    gateways: tuple[str, ...]
    backoff: Backoff
    tries: int = 0
    """How many attempts were made since a session that lasted, with or without success: else a gateway that takes
    clients only to drop them would keep them busy."""
    failures: int = 0
    """How many attempts have failed since a session was open."""

    @property
    def gateway(self) -> str:
        """Its URL."""
        return self.gateways[0]

    def wait_s(self, *, chance: float) -> float:
        """How long to wait before the attempt."""
        return self.backoff.wait_s(self.tries, chance=chance)

    def after_success(self) -> Self:
        """A session is open."""
        return replace(self, tries=self.tries + 1, failures=0)

    def after_loss(self, cause: GatewayError, *, lasted_s: float) -> Self | None:
        """The session has ended after so long. None where there is to be no other."""
        return self._turned(cause, tries=0 if lasted_s > self.backoff.longest else self.tries)

    def after_failure(self, cause: GatewayError) -> Self | None:
        """An attempt has failed. None where there is to be no other."""
        if self.failures + 1 == self.backoff.attempts:
            return None
        return self._turned(cause, tries=self.tries + 1, failures=self.failures + 1)

    def _turned(self, cause: GatewayError, *, tries: int, failures: int = 0) -> Self | None:
        gateways: tuple[str, ...] = ()
        match verdict(cause):
            case Verdict.COME_BACK:
                gateways = (*self.gateways[1:], self.gateways[0])
            case Verdict.ELSEWHERE:
                gateways = self.gateways[1:]
            case Verdict.STAY_AWAY:
                pass
        return replace(self, gateways=gateways, tries=tries, failures=failures) if gateways else None


@dataclass(frozen=True)
class Lost:
    """The session has ended with `cause`, and a new one is going to be opened."""

    gateway: str
    """The URL it was through."""
    cause: GatewayError
    unacknowledged: tuple[Any, ...]
    """The values that were sent and not confirmed by the canister, in their order: it has each of them or not. In v0,
    which confirms none, the last 1024."""


@dataclass(frozen=True)
class RetryFailed:
    """An attempt to open a new session has failed with `cause`, and there will be another."""

    gateway: str
    """The URL that was tried."""
    cause: GatewayError


@dataclass(frozen=True)
class Restored:
    """A new session is open. For the canister it is a new client."""

    gateway: str
    """The URL it is through."""


Change: TypeAlias = Lost | RetryFailed | Restored
"""A change of the session of a connection that reconnects."""
