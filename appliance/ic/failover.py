"""Asks one endpoint after the other. Only a certified answer is a verdict; anything else is one endpoint's word."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from appliance.errors import GatewayError, IcRefused, IcUnreachable, ReplyError, UncertifiedReject
from appliance.ic.endpoints import Endpoint
from appliance.ic.http.transport import Transport

T = TypeVar("T")


class Doubts:
    """What endpoints said against a request, without proof: an honest one may have said it, and so may a liar."""

    def __init__(self) -> None:
        self.raised: list[tuple[Endpoint, GatewayError]] = []
        self.has_asked_resting = False
        """Whether those that rest are asked as well by now."""

    def add(self, endpoint: Endpoint, error: GatewayError) -> None:
        """Another endpoint said so. Raises UncertifiedReject where two endpoints rejected."""
        self.raised.append((endpoint, error))
        if len(self._rejects) == 2:
            raise error

    @property
    def last(self) -> GatewayError | None:
        """The last rejection, because it has the canister's words, or else the last refusal."""
        said: list[GatewayError] = [*self._rejects] or [error for _, error in self.raised]
        return said[-1] if said else None

    @property
    def _rejects(self) -> list[UncertifiedReject]:
        return [error for _, error in self.raised if isinstance(error, UncertifiedReject)]

    def refuted(self, transport: Transport) -> None:
        """An endpoint answered the same request: those that spoke against it were wrong."""
        for endpoint, error in self.raised:
            transport.failed(endpoint, error)


async def first_answer(
    transport: Transport,
    attempt: Callable[[Endpoint], Awaitable[T]],
    *,
    asked: Sequence[Endpoint] | None = None,
) -> T:
    """Try one endpoint after the other until one gives a usable answer, and note the health of each; those of
    ``asked``, or of ``transport.order``.

    Where endpoints blame the request, those that rest are asked as well, and the health of none suffers unless another
    one answers: a client that signs badly must not make honest endpoints rest. Of endpoints that reject without proof,
    two are asked. Raises what endpoints said against the request (UncertifiedReject, IcRefused), else what was wrong
    with the last one: IcUnreachable, IcRefused or a ReplyError; and at once whatever else ``attempt`` raises.
    """
    doubts: Doubts | None = None  # made when there are some: almost always the first answer is usable
    problem: GatewayError | None = None
    asked = transport.order() if asked is None else asked
    waiting = iter(asked)
    while True:
        if (endpoint := next(waiting, None)) is None:
            if doubts is None or doubts.has_asked_resting:
                break
            doubts.has_asked_resting = True
            waiting = iter([each for each in transport.resting() if each not in asked])
            continue
        try:
            answer = await attempt(endpoint)
        except UncertifiedReject as error:
            doubts = doubts or Doubts()
            doubts.add(endpoint, error)
        except (IcUnreachable, IcRefused, ReplyError) as error:
            if isinstance(error, IcRefused) and error.blames_request:
                doubts = doubts or Doubts()
                doubts.add(endpoint, error)
                continue
            transport.failed(endpoint, error)
            problem = error
        else:
            if doubts is not None:
                doubts.refuted(transport)
            transport.succeeded(endpoint)
            return answer
    if isinstance(problem, IcUnreachable):
        problem.retry_after_s = transport.pause_s() or None
    raise (doubts and doubts.last) or problem or IcUnreachable("the IC", "there is no endpoint to ask")
