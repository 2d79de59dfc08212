"""Reads the queue of one canister: asks the endpoints, verifies their replies and judges what they mean."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from appliance.crypto import CandidTypes, PollQueue, PollReply
from appliance.errors import GatewayError, HoleInReply, MessageUnreadable, QueueTooLarge
from appliance.gateway.ic import EndpointReply, Source
from appliance.gateway.polling.ahead import PagesAhead
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.claims import Claims
from appliance.gateway.polling.oversized import Search, is_too_large
from appliance.gateway.polling.queue_position import Ask, Decision, Missing, QueuePosition, Taken
from appliance.gateway.polling.replies import Replies
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sharing import Answer
from appliance.ic.principal import Principal
from appliance.protocol.session import Generation

METHOD = "ws_get_messages"
_ARG_BEFORE_NONCE = CandidTypes("(record {nonce: nat64})").encode({"nonce": 0})[:-8]
"""The argument of a poll up to its last eight bytes, which are the nonce (little-endian)."""

T = TypeVar("T")


@dataclass(slots=True)
class Poll:
    """One query of a canister: its number among those of all canisters, and when it was made and answered (ns since
    1970). ``answer`` is what came, for other nodes.
    """

    number: int
    asked_ns: int
    received_ns: int = 0
    answer: Answer | None = None


class QueueReader:
    """``missed`` is called with the number of messages that are lost and the nonce behind them, before the messages
    from there on are returned.

    ``latest`` is the poll whose page was read last; ``polls`` counts those of this canister. ``too_large`` is the last
    time that a part of the queue had to be passed, as error and time.
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
        self.latest = Poll(0, 0)
        self.polls = 0
        self.too_large: tuple[QueueTooLarge, int] | None = None
        self.keeps_answers = False
        """Whether polls keep what came. Only what is shared needs it: pages ahead would have it beside what was read of
        it."""
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
        self._ahead = PagesAhead(self._ask_ahead, budget.spare)
        self._queue: PollQueue | None = None
        self._queue_by: object = ()
        """The ``verified_by`` of the replies when the queue was made."""

    async def read(self, ask: Ask) -> tuple[Decision, PollReply]:
        """The page from a nonce on, judged. Where that is too large for a reply of the IC and every endpoint says so:
        from the next nonce on that is not. Raises GatewayError.
        """
        if ask.purpose == "poll":
            self._ahead.begin(ask.nonce)
            if ask.nonce in self._ahead and (answer := await self._read_ahead(ask)) is not None:
                return answer
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
        if ask.purpose == "poll" and isinstance(answer[0], Taken):
            self._ahead.learn(answer[1])
        return answer

    async def _read_ahead(self, ask: Ask) -> tuple[Decision, PollReply] | None:
        """A page that was asked for ahead, where there is nothing odd about it."""
        if (found := await self._ahead.take(ask.nonce)) is None:
            return None
        poll, page = found
        # The end of the queue has to be read by a poll that began after what waits for it.
        if page.is_end_of_queue or not page.is_whole or not page.messages or page.messages[0].nonce != ask.nonce:
            self._ahead.forget()
            return None
        decision = self._position.judge(ask, page)
        if not isinstance(decision, Taken) or not decision.messages:
            self._ahead.forget()
            return None
        self.latest = poll
        self._ahead.learn(page)
        return decision, page

    async def read_shared(self, answer: Answer) -> PollReply:
        """The page in an answer that another node got, verified as an own one. Raises GatewayError."""
        poll = Poll(self._counters.polls, self._clock())
        signatures = self._replies.signatures
        arg, doubt = await self._source.reread(self._canister_id, METHOD, *answer, signatures=signatures)
        page = await self._open(arg, doubt)
        poll.received_ns = self._clock()
        self.latest = poll
        return page

    def end(self) -> None:
        """Nothing is read any more."""
        self._ahead.forget()

    async def _pass(self, search: Search) -> tuple[Decision, PollReply] | None:
        """Take the queue from where a reply fits on; None where none does. Raises QueueTooLarge where the queue has no
        message from there on, so that nothing certified shows how far it goes.
        """
        found: PollReply | None = None
        while (nonce := search.next) is not None:
            self._budget.charge()
            try:
                page = await self._ask(Ask(nonce, "rest"), _page)
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
            decision = self._pass_hole(ask, found, decision._replace(client_key=None))
        return decision, found

    @property
    def _endpoints_needed(self) -> int:
        """How many replies in a row reach every endpoint, or, where there is one, two of its replicas."""
        return max(2, self._endpoints)

    def _ask(self, ask: Ask, read: "Read[T]") -> Awaitable[T]:
        poll = self.latest = self._begin()
        self._counters.probes += ask.purpose == "probe"
        return self._query(ask, poll, read)

    async def _ask_ahead(self, nonce: int) -> tuple[Poll, PollReply]:
        # Not charged: the turn in which its page is taken is. What is begun in vain is a few pages of a backlog.
        poll = self._begin()
        return poll, await self._query(Ask(nonce), poll, _page)

    def _begin(self) -> Poll:
        self._counters.polls += 1
        self.polls += 1
        return Poll(self._counters.polls, self._clock())

    def _query(self, ask: Ask, poll: Poll, read: "Read[T]") -> Awaitable[T]:
        """What ``read`` makes of the page. What it raises is the trouble of the endpoint, and the next one is asked."""

        async def received(reply: EndpointReply) -> T:
            poll.received_ns, self._endpoints = self._clock(), reply.endpoints
            if self.keeps_answers:
                poll.answer = Answer(reply.query, reply.body)
            if reply.answer is not None:
                return read(ask, self._replies.opened(reply.answer), reply)
            return read(ask, await self._open(reply.arg, reply.doubt), reply)

        replies = self._replies
        if replies.verified_by is not self._queue_by:
            self._queue, self._queue_by = replies.queue(self._canister_id, self._generation), replies.verified_by
        return self._source.query_until(
            self._canister_id,
            METHOD,
            _ARG_BEFORE_NONCE + ask.nonce.to_bytes(8, "little"),
            received,
            signatures=replies.signatures,
            timeout_s=self._timeout_s(),
            queue=self._queue,
            keeps_body=self.keeps_answers,
        )

    async def _open(self, arg: bytes, doubt: GatewayError | None) -> PollReply:
        if doubt is not None:
            self._replies.report(doubt, self._canister_id)
        return await self._replies.open(arg, self._canister_id, self._generation)

    def _judge(self, ask: Ask, page: PollReply, reply: EndpointReply) -> tuple[Decision, PollReply]:
        decision = self._position.judge(ask, page)
        if isinstance(decision, Missing):
            if (believed := self._claims.confirm(decision, reply.endpoint, reply.endpoints)) is not None:
                decision = self._pass_hole(ask, page, believed)
            elif decision.is_inside:
                raise _problem_of(decision, page)
        return decision, page

    def _pass_hole(self, ask: Ask, page: PollReply, hole: Missing) -> Decision:
        decision = self._position.judge(ask, page, passing=hole)
        if isinstance(decision, Taken) and decision.lost:
            self._missed(decision.lost, hole.got)
        return decision


Read: TypeAlias = Callable[[Ask, PollReply, EndpointReply], T]
"""Makes something of a page that answers what was asked."""


def _page(_ask: Ask, page: PollReply, _reply: EndpointReply) -> PollReply:
    return page


def _problem_of(hole: Missing, page: PollReply) -> GatewayError:
    last = hole.got - 1
    problem = next((message.problem for message in page.messages if message.nonce == last), None)
    return HoleInReply(hole.expected, hole.got) if problem is None else MessageUnreadable(last, problem)
