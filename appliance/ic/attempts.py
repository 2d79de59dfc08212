"""Retries a call until its outcome is known."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from appliance.errors import CallExpired, GatewayError, IcRefused, IcUnreachable, ReplyError, UncertifiedReject
from appliance.ic.envelope import SignedCall
from appliance.ic.replies import SYS_TRANSIENT, RequestStatus

UNUSABLE_LIMIT = 7  # rounds of unusable answers to one call before it is given up: 5 to 10 s, as long as a restart

ABSENT_LIMIT = 2  # certified answers in a row that the IC does not know an accepted call, until it is posted again
OUT_OF_CYCLES = "IC0207"
"""The replica calls this transient, but it lasts until somebody pays: trying again would keep a client waiting for four
minutes, and a gateway that stops for all of its time, for a ``ws_close`` that cannot arrive."""

ENOUGH_ACCEPTANCES = 3
"""At version 2, after which a client's call counts as accepted although another endpoint cannot be asked."""

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[None]]
Chance = Callable[[], float]
Ask = Callable[[], Awaitable[tuple[int, RequestStatus]]]
"""Asks for the status of a call in some way. Answers with the version of the interface, too; 0 where another endpoint
may know more.
"""

system_chance: Chance = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Backoff:
    """The next delay in seconds, before chance shortens it."""

    delay_s: float = 0.5
    factor: float = 1.5
    longest_s: float = 4.0

    @property
    def next(self) -> "Backoff":
        """After one more attempt."""
        return replace(self, delay_s=min(self.delay_s * self.factor, self.longest_s))

    def seconds(self, chance: float) -> float:
        """Between half of the delay and all of it, for ``chance`` from 0 to 1, so that many who failed together do not
        come back together."""
        return self.delay_s * (0.5 + chance / 2)


_FIRST_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Pacing:
    """Time and chance, which tests replace: ``clock`` is ns since 1970."""

    clock: Clock
    sleep: Sleep = asyncio.sleep
    chance: Chance = system_chance


@dataclass(slots=True)
class LastAnswer:
    """The endpoint that answered about a call last, but without an outcome. "Accepted" and "unknown" cost a liar
    nothing, and are what a replica that lags behind says, so that another endpoint comes first the next time.
    """

    url: str | None = None
    accepted_at: frozenset[str] = frozenset()
    """Endpoints that accepted the call at version 2 of the interface, which never answers with an outcome."""
    acceptances: int = 0

    def accepted(self, url: str, endpoints: int) -> bool:
        """An endpoint accepted the call at version 2. Returns whether that is all that can be learned of so many
        endpoints: one that swallows calls need only pretend to be old.
        """
        self.accepted_at |= {url}
        self.acceptances += 1
        return len(self.accepted_at) >= endpoints or self.acceptances >= ENOUGH_ACCEPTANCES


class Attempts:
    """The attempts at one call, until its ingress expiry."""

    def __init__(self, call: SignedCall, pacing: Pacing, patience: int = 0) -> None:
        self._call = call
        self._pacing = pacing
        self._patience = patience
        self._backoff = _FIRST_BACKOFF
        self._unusable = 0

    def may_pass(self, error: GatewayError) -> bool:
        """Whether the same call may succeed later, after this was the outcome at every endpoint."""
        if _may_pass(error):
            return True
        self._patience -= 1
        return self._patience >= 0

    def check(self, problem: object) -> None:
        """Raise CallExpired, with the last problem, where the call's time is over."""
        if self._left_s() <= 0:
            raise CallExpired(self._call.method_name, str(problem))

    async def pause(self, problem: GatewayError | str) -> None:
        """Wait before the next attempt, at least for the ``Retry-After`` of an endpoint.

        Raises CallExpired where that is too late, and the problem itself when the IC's answers were unusable too often.
        """
        if isinstance(problem, ReplyError | IcRefused):
            self._unusable += 1
            if self._unusable >= UNUSABLE_LIMIT:
                raise problem
        self.check(problem)
        wanted_s = getattr(problem, "retry_after_s", None) or 0.0
        delay_s = max(self._backoff.seconds(self._pacing.chance()), wanted_s)
        self._backoff = self._backoff.next
        await self._pacing.sleep(min(delay_s, self._left_s()))
        self.check(problem)

    def _left_s(self) -> float:
        return (self._call.ingress_expiry_ns - self._pacing.clock()) / 1e9


async def carry(
    call: SignedCall, post: Ask, read_status: Ask | None, pacing: Pacing, *, patience: int = 0
) -> bytes | None:
    """Post a call until its outcome is known, and return its reply.

    Once an endpoint has accepted the call, ``read_status`` reads its status; after ``ABSENT_LIMIT`` certified answers
    in a row that the IC does not know it, it is posted again. Without ``read_status`` (only the sender of a call may
    read it) the same call is posted again: versions 3 and 4 of the interface answer with the outcome, if there is one.
    Version 2 does not; the result is None then, which means "accepted". That is the word of endpoints, so all of them
    are asked first.

    What endpoints said against the call without proof is believed after ``patience`` further rounds.

    Raises Rejected, CallExpired, and what ``post`` and ``read_status`` raise beyond trying again.
    """
    if call.ingress_expiry_ns <= pacing.clock():
        raise CallExpired(call.method_name, "it had expired before its turn")
    attempts: Attempts | None = None  # made where the first one does not settle it
    ask, unknown = post, 0
    while True:
        problem: GatewayError | str = "the IC accepted it and has not answered yet"
        try:
            version, status = await ask()
        except (IcUnreachable, IcRefused, ReplyError, UncertifiedReject) as error:
            attempts = attempts or Attempts(call, pacing, patience)
            if not attempts.may_pass(error):
                raise
            problem = error
        else:
            if status.state == "replied":
                return status.reply
            if status.reject is not None:
                raise status.reject
            if read_status is not None:
                if status.state == "done":
                    raise CallExpired(call.method_name, "it was executed, but the IC no longer keeps the reply")
                # "accepted" is one endpoint's word, "absent" is certified. A replica may be behind; where two do not
                # know the call, the same bytes are posted again, elsewhere. That is harmless if it is only late.
                unknown = unknown + 1 if status.state == "absent" else 0
                ask = read_status if unknown < ABSENT_LIMIT else post
                unknown %= ABSENT_LIMIT
            elif version == 2 or status.state == "done":
                return None
        attempts = attempts or Attempts(call, pacing, patience)
        await attempts.pause(problem)


def _may_pass(error: GatewayError) -> bool:
    match error:
        case IcRefused():
            return not error.blames_request
        case UncertifiedReject():  # SYS_TRANSIENT is said before execution: the call may still run
            return error.reject_code == SYS_TRANSIENT and error.error_code != OUT_OF_CYCLES
        case _:
            return True
