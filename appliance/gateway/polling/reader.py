"""Reads the queue of one canister: asks the endpoints, verifies their replies and judges what they mean."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from appliance.crypto import CandidTypes, PollReply
from appliance.errors import GatewayError, HoleInReply, QueueTooLarge
from appliance.gateway.ic import EndpointReply, Source
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.claims import Claims
from appliance.gateway.polling.oversized import Search, is_too_large
from appliance.gateway.polling.queue_position import Ask, Decision, Missing, QueuePosition, Taken
from appliance.gateway.polling.replies import Replies
from appliance.gateway.recording.measurements import Counters
from appliance.ic.principal import Principal
from appliance.protocol.session import Generation

_ARG = CandidTypes("(record {nonce: nat64})")

T = TypeVar("T")


class QueueReader:
    """``missed`` is called with the number of messages that are lost and the nonce behind them, before the messages
    from there on are returned.

    ``number`` is that of the last poll among those of all canisters, ``asked_ns`` and ``received_ns`` are its times (ns
    since 1970); ``polls`` counts those of this canister. ``too_large`` is the last time that a part of the queue had to
    be passed, as error and time.
    """

    def __init__(
        self,
        canister_id: Principal,
        generation: Generation,
        *,
        source: Source,
        replies: Replies,
        position: QueuePosition,
        budget: PollBudget,
        counters: Counters,
        clock: Callable[[], int],
        timeout_s: Callable[[], float],
        missed: Callable[[int, int], None],
    ) -> None:
        self.number = self.asked_ns = self.received_ns = self.polls = 0
        self.too_large: tuple[QueueTooLarge, int] | None = None
        self._canister_id = canister_id
        self._generation = generation
        self._source = source
        self._replies = replies
        self._position = position
        self._budget = budget
        self._counters = counters
        self._clock = clock
        self._timeout_s = timeout_s
        self._missed = missed
        self._claims = Claims()
        self._endpoints = 1
        self._refused = self._refusals = 0

    async def read(self, ask: Ask) -> tuple[Decision, PollReply]:
        """The page from a nonce on, judged. Where that is too large for a reply of the IC and every endpoint says so:
        from the next nonce on that is not. Raises GatewayError.
        """
        try:
            answer = await self._ask(ask, self._judge)
        except GatewayError as error:
            if not is_too_large(error):
                raise
            self._refusals = self._refusals + 1 if self._refused == ask.nonce else 1
            self._refused = ask.nonce
            if self._refusals < self._endpoints_needed:
                raise
            if (passed := await self._pass(Search(ask.nonce, self._endpoints_needed))) is None:
                raise
            return passed
        self._refusals = 0
        return answer

    async def _pass(self, search: Search) -> tuple[Decision, PollReply] | None:
        """Take the queue from where a reply fits on; None where none does. Raises QueueTooLarge where the queue has no
        message from there on, so that nothing certified shows how far it goes.
        """
        found: PollReply | None = None
        while (nonce := search.next) is not None:
            self._budget.charge()
            try:
                page = await self._ask(Ask(nonce, "rest"), self._open)
            except GatewayError as error:
                if not is_too_large(error):
                    raise
                search.refused()
            else:
                search.fitted()
                found = page
        if found is None or search.fits is None:
            return None
        next_nonce = self._position.next_nonce
        first = found.messages[0].nonce if found.messages else next_nonce
        problem = QueueTooLarge(str(self._canister_id), next_nonce, max(0, first - next_nonce))
        self.too_large = problem, self._clock()
        if not found.messages:
            raise problem
        ask = Ask(search.fits, "rest")
        decision = self._position.judge(ask, found)
        if isinstance(decision, Missing):
            decision = self._pass_hole(ask, found, decision)
        return decision, found

    @property
    def _endpoints_needed(self) -> int:
        """How many replies in a row reach every endpoint, or, where there is one, two of its replicas."""
        return max(2, self._endpoints)

    async def _ask(self, ask: Ask, read: Callable[[Ask, EndpointReply], Awaitable[T]]) -> T:
        self._counters.polls += 1
        self._counters.probes += ask.purpose == "probe"
        self.polls += 1
        self.number, self.asked_ns = self._counters.polls, self._clock()
        return await self._source.query_until(
            self._canister_id,
            "ws_get_messages",
            _ARG.encode({"nonce": ask.nonce}),
            partial(read, ask),
            signatures=self._replies.signatures,
            timeout_s=self._timeout_s(),
        )

    async def _open(self, _ask: Ask, reply: EndpointReply) -> PollReply:
        self.received_ns, self._endpoints = self._clock(), reply.endpoints
        if reply.doubt is not None:
            self._replies.report(reply.doubt, self._canister_id)
        return await self._replies.open(reply.arg, self._canister_id, self._generation)

    async def _judge(self, ask: Ask, reply: EndpointReply) -> tuple[Decision, PollReply]:
        """Verify and judge a reply. What is raised is the trouble of its endpoint, and the next one is asked."""
        page = await self._open(ask, reply)
        decision = self._position.judge(ask, page)
        if isinstance(decision, Missing):
            if self._claims.confirm(decision, reply.endpoint, reply.endpoints):
                decision = self._pass_hole(ask, page, decision)
            elif decision.is_inside:
                raise HoleInReply(decision.expected, decision.got)
        return decision, page

    def _pass_hole(self, ask: Ask, page: PollReply, hole: Missing) -> Decision:
        decision = self._position.judge(ask, page, passing=hole)
        if isinstance(decision, Taken) and decision.lost:
            self._missed(decision.lost, hole.got)
        return decision
