"""The budget of polls: so many a second for all canisters together, shared fairly where they want more."""

import asyncio
import heapq
from dataclasses import dataclass, field

IDLE, ACTIVE = 1, 32
"""The shares of a canister where nothing happens and of one where messages flow. With 1,000 idle canisters and the
default budget the active one comes within 0.2 s, an idle one every 5 s."""
BURST_S = 0.1
"""Seconds of the budget that may be used at once, so that canisters whose turns coincide do not wait for each other."""


WHOLE = 1 - 1e-6
"""Of a token that makes a turn. Adding up parts of it ends just below one: then the rest would take a time that is too
short for the clock to pass, and the loop would spin."""


@dataclass(slots=True)
class FairShare:
    """Who may poll when: weighted fair queueing over a token bucket. A value; times are seconds of any clock.

    Each request gets a finish tag, ``1 / share`` behind the virtual time or, if that is later, the last tag of its own
    poller. The lowest tag is granted first. With each grant the virtual time advances by one through the sum of the
    shares that wait. So nobody saves up turns by being idle, nobody waits for ever, and in the long run each gets polls
    in proportion to its share.
    """

    rate: float
    _tokens: float = 1.0
    _filled_at: float | None = None
    _virtual: float = 0.0
    _tags: dict[object, float] = field(default_factory=dict)
    """The last granted tag of each poller."""
    _waiting: dict[object, tuple[float, int, int]] = field(default_factory=dict)
    """Of each request that waits: its tag, its place in the order of requests, its share."""
    _shares: int = 0
    """The sum of the shares that wait."""
    _heap: list[tuple[float, int, object]] = field(default_factory=list)
    _requests: int = 0

    def request(self, poller: object, share: int) -> None:
        """A poller wants to poll. One that waits already moves up if its share grew, and never back."""
        tag = max(self._virtual, self._tags.get(poller, 0.0)) + 1 / share
        if (waiting := self._waiting.get(poller)) is not None:
            if share <= waiting[2]:
                return
            tag = min(tag, waiting[0])
            self._shares -= waiting[2]
        self._requests += 1
        self._shares += share
        self._waiting[poller] = tag, self._requests, share
        heapq.heappush(self._heap, (tag, self._requests, poller))

    def take(self, poller: object, share: int, now: float) -> bool:
        """Grant a request at once where nobody waits and there is a token; returns whether it did. The same as
        ``request`` and ``grant``, at a fraction of their cost.
        """
        if self._waiting:
            return False
        self._fill(now)
        if self._tokens < WHOLE:
            return False
        self._tags[poller] = max(self._virtual, self._tags.get(poller, 0.0)) + 1 / share
        self._virtual += 1 / share
        self._tokens -= 1
        return True

    def withdraw(self, poller: object) -> None:
        """It wants no more, and is forgotten."""
        if (waiting := self._waiting.pop(poller, None)) is not None:
            self._shares -= waiting[2]
        self._tags.pop(poller, None)

    def charge(self, now: float) -> None:
        """A poll was made without a request. The budget may be overdrawn by it; whoever is next waits longer."""
        self._fill(now)
        self._tokens -= 1

    def spare(self, now: float) -> float:
        """How many polls would take no turn from anybody; none while somebody waits."""
        self._fill(now)
        return 0.0 if self._waiting else self._tokens

    def grant(self, now: float) -> list[object]:
        """Who may poll now."""
        self._fill(now)
        granted = []
        while self._tokens >= WHOLE and (poller := self._first()) is not None:
            heapq.heappop(self._heap)
            self._virtual += 1 / self._shares
            self._tags[poller], _, share = self._waiting.pop(poller)
            self._shares -= share
            self._tokens -= 1
            granted.append(poller)
        return granted

    def next_grant_s(self) -> float | None:
        """Seconds from the last ``grant`` until somebody may poll; None where nobody waits."""
        return max(0.0, 1 - self._tokens) / self.rate if self._waiting else None

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def _first(self) -> object | None:
        """Who is next. Drops the entries of the heap that a later request or a withdrawal has replaced."""
        while self._heap:
            _, number, poller = self._heap[0]
            if (waiting := self._waiting.get(poller)) is not None and waiting[1] == number:
                return poller
            heapq.heappop(self._heap)
        return None

    def _fill(self, now: float) -> None:
        passed = 0.0 if self._filled_at is None else max(0.0, now - self._filled_at)
        self._filled_at = now
        self._tokens = min(self._tokens + passed * self.rate, max(1.0, BURST_S * self.rate))


class PollBudget:
    """Grants turns to pollers on the event loop's clock.

    By poller, not by canister: one that was stopped during a poll ends later than the next one of its canister begins.
    """

    def __init__(self, rate: float) -> None:
        self._shares = FairShare(rate)
        self._turns: dict[object, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, rate: float) -> None:
        """Apply another budget, to those who wait, too."""
        self._shares.rate = rate
        self._grant()

    @property
    def rate(self) -> float:
        """Polls a second."""
        return self._shares.rate

    @property
    def waiting(self) -> int:
        """Canisters that wait for their turn."""
        return self._shares.waiting

    async def turn(self, poller: object, *, is_active: bool) -> None:
        """Wait until a canister may be polled. ``is_active``: messages flow there; `hurry` where that begins later."""
        share = ACTIVE if is_active else IDLE
        if self._shares.take(poller, share, asyncio.get_running_loop().time()):
            return
        self._shares.request(poller, share)
        turn = self._turns[poller] = asyncio.get_running_loop().create_future()
        if self._timer is None:  # else the next token is for whoever is first then, and comes no earlier
            self._set_timer()  # there was no token just now
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(poller)
            raise

    def hurry(self, poller: object) -> bool:
        """Give a canister that waits for its turn the larger share: messages flow there. Returns whether it waits."""
        is_waiting = poller in self._turns
        if is_waiting:
            # Changes who is next, never when: no grant, and the timer stays as it is.
            self._shares.request(poller, ACTIVE)
        return is_waiting

    def charge(self) -> None:
        """A poller needed one more poll to understand the last one, and has made it."""
        self._shares.charge(asyncio.get_running_loop().time())

    def spare(self) -> float:
        """How many polls would take no turn from anybody; none while a canister waits."""
        return self._shares.spare(asyncio.get_running_loop().time())

    def leave(self, poller: object) -> None:
        """A canister is polled no more."""
        self._turns.pop(poller, None)
        self._shares.withdraw(poller)
        self._grant()

    def _grant(self) -> None:
        loop = asyncio.get_running_loop()
        for poller in self._shares.grant(loop.time()):
            turn = self._turns.pop(poller)
            if not turn.done():  # cancelled in this turn of the loop; its task has not got to `leave` yet
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set_timer()

    def _set_timer(self) -> None:
        if (wait_s := self._shares.next_grant_s()) is not None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._grant)
