"""Pages that are asked for ahead: a long queue takes fewer round trips, and nobody notices anything else."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import IcUnreachable
from appliance.gateway.polling.ahead import AHEAD, PagesAhead
from appliance.gateway.polling.budget import FairShare
from tests.gateway import virtual_time
from tests.gateway.polling.queue_model import Message, Page
from tests.gateway.polling.test_reader import ONE, TWO, setup

ROUND_TRIP_S = 1.0
SIZE = 10


@dataclass
class LongQueue:
    """A queue that is read as a poller does it. ``failing`` has nonces from which no page comes."""

    length: int
    spare: float = 100.0
    failing: Sequence[int] = ()
    asked: list[int] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def ask(self, nonce: int) -> Page:
        self.asked.append(nonce)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(ROUND_TRIP_S)
        self.under_way -= 1
        if nonce in self.failing:
            raise IcUnreachable("the endpoint", "nothing comes")
        messages = [Message(0, number, b"key", number + 1, 0) for number in range(nonce, self.length)]
        return Page(messages[:SIZE], len(messages) <= SIZE, 1)

    async def read(self) -> list[int]:
        """All nonces, in the order in which they were taken."""
        ahead, taken, is_end = PagesAhead(self.ask, lambda: self.spare), list[int](), False
        while not is_end:
            ahead.begin(len(taken))
            page = await ahead.take(len(taken))
            if page is None:
                self.failing = [nonce for nonce in self.failing if nonce != len(taken)]
                page = await self.ask(len(taken))
            ahead.learn(page)
            taken += [message.nonce for message in page.messages]
            is_end = page.is_end_of_queue
        ahead.forget()
        return taken


def seconds_for(queue: LongQueue) -> float:
    async def measure() -> None:
        nonlocal took_s
        assert await queue.read() == list(range(queue.length))
        took_s = asyncio.get_running_loop().time()

    took_s = 0.0
    virtual_time.run(measure)
    return took_s


@given(st.integers(1, 40))
def test_a_long_queue_takes_one_round_trip_for_several_pages(pages: int) -> None:
    queue = LongQueue(pages * SIZE)
    # Two pages show their size, and further ones come in fours.
    assert seconds_for(queue) <= (2 + -(-max(0, pages - 2) // (AHEAD + 1)) + 1) * ROUND_TRIP_S
    assert queue.most_under_way <= AHEAD + 1
    assert len(set(queue.asked)) == len(queue.asked)
    assert len(queue.asked) <= pages + AHEAD


@given(st.integers(1, 10), st.floats(0, 0.9))
def test_nothing_is_asked_for_ahead_where_that_would_take_a_turn_from_others(pages: int, spare: float) -> None:
    queue = LongQueue(pages * SIZE, spare=0 if spare < 0.5 else -spare)
    assert seconds_for(queue) == pages * ROUND_TRIP_S
    assert queue.most_under_way == 1


@given(st.lists(st.integers(0, 19).map(lambda page: page * SIZE)))
def test_a_page_that_fails_ahead_is_asked_for_in_its_turn(failing: list[int]) -> None:
    seconds_for(LongQueue(20 * SIZE, failing=[nonce for nonce in failing if nonce > SIZE]))


@pytest.mark.parametrize("waiting", [False, True])
def test_the_budget_has_nothing_to_spare_while_somebody_waits(waiting: bool) -> None:
    shares = FairShare(rate=1.0)
    shares.charge(0.0)
    if waiting:
        shares.request("a poller", 1)
    assert (shares.spare(0.5) > 0) is not waiting


@pytest.mark.parametrize("batches", [[3], [3, 5], [5, 3, 3, 1]])
async def test_a_queue_whose_pages_change_and_whose_endpoints_lie_is_delivered_once_and_in_order(batches: list[int]):
    it, [(key, member), (other, bystander)] = setup(ONE, TWO, members=2, batch=3)
    for _ in range(40):
        it.canister.send(key)
        it.canister.send(other)
    it.ic.liars = {ONE: lambda nonce: it.canister.without(17, 31, 32).poll(nonce)}
    for poll in range(80):
        it.canister.batch = batches[poll % len(batches)]
        await it.poller.poll()
    assert (len(member.frames), len(bystander.frames)) == (40, 40)
    assert (member.error, bystander.error, it.counters.lost) == (None, None, 0)
    it.poller.end()
    assert not len(it.poller._reader._ahead)
