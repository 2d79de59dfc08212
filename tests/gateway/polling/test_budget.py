"""Laws of the budget of polls, on a clock of the test."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.polling.budget import ACTIVE, BURST_S, IDLE, FairShare, PollBudget
from tests.gateway.clock import advance, run

shares = st.sampled_from([IDLE, ACTIVE])


def name(number: int) -> bytes:
    return b"%d" % number


class Canisters:
    """Pollers that want to poll again ``interval_s`` after each poll. Time is counted in steps."""

    def __init__(self, rate: float, wants: list[tuple[int, float]]) -> None:
        self.fair = FairShare(rate)
        self.wants = dict(enumerate(wants))
        self.due = dict.fromkeys(self.wants, 0.0)
        self.polls: dict[int, list[float]] = {number: [] for number in self.wants}
        self.now = 0.0

    def run(self, seconds: float, step: float = 0.005) -> None:
        end = self.now + seconds
        while self.now < end:
            for number, due in list(self.due.items()):
                if due <= self.now + 1e-9:
                    del self.due[number]
                    self.fair.request(name(number), self.wants[number][0])
            for canister in self.fair.grant(self.now):
                number = int(canister)
                self.polls[number].append(self.now)
                self.due[number] = self.now + self.wants[number][1]
            self.now += step

    @property
    def total(self) -> int:
        return sum(map(len, self.polls.values()))


def test_20_idle_canisters_are_polled_every_100_ms():
    canisters = Canisters(200, [(IDLE, 0.1)] * 20)
    canisters.run(10)
    for times in canisters.polls.values():
        assert max(b - a for a, b in pairwise(times)) <= 0.105 + 1e-9


def test_1000_idle_canisters_share_the_budget_evenly():
    canisters = Canisters(200, [(IDLE, 0.1)] * 1000)
    canisters.run(30)
    assert canisters.total <= 200 * (30 + BURST_S) + 1
    assert {len(times) for times in canisters.polls.values()} <= {5, 6, 7}


def test_activity_gets_the_larger_share_and_takes_nothing_that_it_does_not_want():
    canisters = Canisters(200, [(IDLE, 0.1)] * 1000 + [(ACTIVE, 0.05)])
    canisters.run(10)
    active, idle = canisters.polls[1000], [canisters.polls[number] for number in range(1000)]
    assert len(active) >= 200 * 10 * ACTIVE / (1000 + ACTIVE) * 0.8
    assert min(map(len, idle)) >= 1
    canisters = Canisters(200, [(IDLE, 0.1)] * 10 + [(ACTIVE, 0.05)])
    canisters.run(10)
    assert {len(times) for times in canisters.polls.values()} <= {99, 100, 101, 199, 200, 201}


@given(
    st.floats(1, 1000),
    st.lists(st.tuples(shares, st.floats(0.005, 2)), min_size=1, max_size=30),
    st.floats(0.5, 3),
)
def test_the_budget_is_never_exceeded_and_nobody_starves(rate, wants, seconds):
    canisters = Canisters(rate, wants)
    canisters.run(seconds, step=0.02)
    assert canisters.total <= rate * canisters.now + max(1.0, BURST_S * rate) + 1e-6
    canisters.run((1 + sum(share for share, _ in wants)) / rate + 2.1, step=0.02)
    assert all(canisters.polls.values())


@given(st.lists(st.tuples(st.integers(0, 4), shares), max_size=30), st.integers(0, 4), shares)
def test_a_request_is_granted_once_however_often_it_is_made(requests, number, share):
    fair = FairShare(1000)
    for who, weight in requests:
        fair.request(name(who), weight)
    fair.request(name(number), share)
    expected = {name(who) for who, _ in requests} | {name(number)}
    assert fair.waiting == len(expected)
    granted = Counter(canister for second in range(10) for canister in fair.grant(float(second)))
    assert granted == Counter(expected)
    assert (fair.waiting, fair.next_grant_s()) == (0, None)


def test_a_canister_that_becomes_active_while_it_waits_moves_up():
    fair = FairShare(100)
    fair.grant(0)
    for number in range(500):
        fair.request(name(number), IDLE)
    fair.request(name(499), ACTIVE)
    assert name(499) in fair.grant(0.01) + fair.grant(0.02) + fair.grant(0.03)


def test_who_is_polled_no_more_is_forgotten():
    fair = FairShare(1)
    for number in range(3):
        fair.request(name(number), IDLE)
        fair.withdraw(name(number))
    assert fair.grant(100) == []
    assert (fair._tags, fair._waiting, fair._heap) == ({}, {}, [])


def test_polls_beyond_the_granted_ones_are_paid_for():
    fair = FairShare(10)
    fair.grant(0)
    for _ in range(11):
        fair.charge(0)
    fair.request(b"canister", IDLE)
    assert fair.grant(1.0) == []
    assert fair.next_grant_s() == pytest.approx(0.1)
    assert fair.grant(1.2) == [b"canister"]


def test_turns_are_granted_as_time_passes():
    async def work():
        budget = PollBudget(10)
        granted = []

        async def poller(number):
            await budget.turn(name(number), is_active=False)
            granted.append(number)

        tasks = [asyncio.ensure_future(poller(number)) for number in range(4)]
        await advance(0)
        assert granted == [0]
        assert budget.waiting == 3
        tasks[1].cancel()
        await advance(0.1)
        assert granted == [0, 2]
        assert budget.hurry(name(3))
        assert not budget.hurry(name(2))
        budget.follow(1000)
        await advance(0.01)
        assert granted == [0, 2, 3]
        assert (budget._timer, budget._turns) == (None, {})
        assert tasks[1].cancelled()

    run(work)


def test_parts_of_a_turn_add_up_to_one():
    """Sums of floats end just below: a rest of 1e-16 of a turn would be waited for again and again."""
    shares, now = FairShare(200.0), 0.0
    shares.grant(now)
    for number in range(2000):
        shares.request(number, 1)
        rounds = 0
        while number not in shares.grant(now):
            wait_s = shares.next_grant_s()
            assert wait_s is not None
            assert wait_s > 1e-9
            now += wait_s
            rounds += 1
        assert rounds <= 2


@given(st.lists(st.tuples(st.sampled_from("abc"), shares, st.floats(0, 0.1), st.booleans()), max_size=40))
def test_a_poll_that_is_granted_at_once_is_one_that_was_requested_and_granted(steps):
    """``take`` and ``request`` with ``grant`` come to the same, so that the order of polls depends on neither."""
    direct, usual, now = FairShare(20.0), FairShare(20.0), 0.0
    for poller, share, passed, leaves in steps:
        now += passed
        if leaves:
            direct.withdraw(poller)
            usual.withdraw(poller)
        expected = (usual.request(poller, share), usual.grant(now))[1]
        if direct.take(poller, share, now):
            assert expected == [poller]
        else:
            direct.request(poller, share)
            assert direct.grant(now) == expected
        for one, other in ((direct._tags, usual._tags), (direct._tokens, usual._tokens)):
            assert one == other
        assert direct._virtual == usual._virtual
        assert direct.waiting == usual.waiting
