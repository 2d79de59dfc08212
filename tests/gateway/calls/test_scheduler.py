"""Laws of the budget of calls: its bounds, its kept parts, and that nobody starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.calls.scheduler import KEPT, KEPT_DRAINING, SHARE, Kind, Scheduler, Ticket

MIB = 1 << 20
CANISTERS = [b"a", b"b", b"c"]
TICKETS = st.builds(
    Ticket,
    st.sampled_from(Kind),
    st.sampled_from(CANISTERS),
    st.sampled_from([b"1", b"2", b"3"]),
    st.sampled_from([100, 1000, MIB]),
)
STEPS = st.lists(st.one_of(TICKETS, st.tuples(st.sampled_from(["finish", "cancel"]), st.integers(0, 99))), max_size=150)
BUDGETS = st.tuples(st.integers(3, 40), st.sampled_from([MIB, 4 * MIB, 1000 * MIB]))


class Model:
    """Applies steps to a scheduler, and remembers what waits and what is under way, in order."""

    def __init__(self, calls: int, max_bytes: int) -> None:
        self.scheduler = Scheduler(calls, max_bytes)
        self.waiting: list[Ticket] = []
        self.under_way: list[Ticket] = []

    def add(self, ticket: Ticket) -> None:
        self.scheduler.add(ticket)
        self.waiting.append(ticket)
        self.start()

    def finish(self, which: int = 0) -> None:
        self.scheduler.finish(self.under_way.pop(which % len(self.under_way)))
        self.start()

    def cancel(self, which: int) -> None:
        everything = self.waiting + self.under_way
        ticket = everything[which % len(everything)]
        self.scheduler.cancel(ticket)
        (self.waiting if ticket in self.waiting else self.under_way).remove(ticket)
        self.start()

    def start(self) -> None:
        for ticket in self.scheduler.start():
            assert ticket is next(each for each in self.waiting if self._same(each, ticket))
            self.waiting.remove(ticket)
            self.under_way.append(ticket)

    def apply(self, step: Ticket | tuple[str, int]) -> None:
        if isinstance(step, Ticket):
            self.add(step)
        elif step[0] == "finish" and self.under_way:
            self.finish(step[1])
        elif step[0] == "cancel" and self.waiting + self.under_way:
            self.cancel(step[1])

    @staticmethod
    def _same(one: Ticket, other: Ticket) -> bool:
        return (one.kind, one.canister, one.client) == (other.kind, other.canister, other.client)


def copies(steps):
    """Hypothesis may use one object twice; a ticket is one call."""
    return [Ticket(s.kind, s.canister, s.client, s.size) if isinstance(s, Ticket) else s for s in steps]


@given(STEPS, BUDGETS)
def test_never_above_the_budget_and_each_client_in_order(steps, budget):
    calls, max_bytes = budget
    model = Model(calls, max_bytes)
    for step in copies(steps):
        model.apply(step)
        scheduler = model.scheduler
        assert scheduler.under_way == len(model.under_way) <= calls
        assert scheduler.bytes_under_way <= max_bytes
        assert scheduler.waiting == len(model.waiting)
        assert scheduler.waiting_by_canister() == Counter(ticket.canister for ticket in model.waiting)
        assert scheduler.under_way_by_canister() == Counter(ticket.canister for ticket in model.under_way)


@given(STEPS, BUDGETS)
def test_nothing_waits_for_ever(steps, budget):
    model = Model(*budget)
    for step in copies(steps):
        model.apply(step)
    while model.under_way:
        model.finish()
    assert not model.waiting
    assert model.scheduler.under_way == model.scheduler.bytes_under_way == model.scheduler.waiting == 0
    assert not model.scheduler.waiting_by_canister()
    assert not model.scheduler.under_way_by_canister()


@given(STEPS, st.integers(3, 40), st.sampled_from([Kind.OPENING, Kind.CLOSE]))
def test_messages_leave_room_for_openings_and_close_calls(steps, calls, kind):
    model = Model(calls, 1000 * MIB)
    for step in copies(steps):
        if not isinstance(step, Ticket) or step.kind is Kind.MESSAGE:
            model.apply(step)
    for number in range(max(1, calls // KEPT)):
        model.add(Ticket(kind, bytes([number]), b"new", 100))
    assert all(ticket.kind is Kind.MESSAGE for ticket in model.waiting)


@given(st.integers(3, 200), st.sampled_from(Kind))
def test_close_calls_take_no_more_than_their_part(calls, kind):
    model = Model(calls, 1000 * MIB)
    for number in range(2 * calls):
        model.add(Ticket(kind, number.to_bytes(2, "big"), b"", 100))
    kept = max(1, calls // KEPT)
    assert len(model.under_way) == {Kind.CLOSE: kept, Kind.OPENING: calls - kept, Kind.MESSAGE: calls - 2 * kept}[kind]


@given(STEPS, st.integers(3, 200))
def test_close_calls_get_half_of_the_budget_in_a_drain(steps, calls):
    model = Model(calls, 1000 * MIB)
    model.scheduler.drain(True)
    for number in range(2 * calls):
        model.add(Ticket(Kind.CLOSE, number.to_bytes(2, "big"), b"", 100))
    assert len(model.under_way) == max(1, calls // KEPT_DRAINING)
    for step in copies(steps):
        model.apply(step)
        assert model.scheduler.under_way <= calls
    model.scheduler.drain(False)
    while model.under_way:
        model.finish()
    assert not model.waiting


@given(st.integers(40, 120), st.integers(1, 4))
def test_canisters_that_fill_the_budget_leave_some_of_it_to_another(calls, hogs):
    model = Model(calls, 1000 * MIB)
    for number in range(2 * calls):
        for hog in range(hogs):
            model.add(Ticket(Kind.MESSAGE, bytes([hog]), bytes([number % 250]), 100))
    quiet = Ticket(Kind.MESSAGE, b"quiet", b"1", 100)
    model.add(quiet)
    assert quiet in model.under_way
    share = calls - 2 * max(1, calls // KEPT)
    assert len(model.under_way) >= share * hogs * SHARE // (hogs * SHARE + 1) - hogs


@pytest.mark.parametrize("turns", ["canister", "client"])
@given(st.integers(10, 60), st.integers(5, 30))
def test_the_turn_goes_round(turns, calls, loud):
    """However many calls one canister or client has waiting, one of another waits for one turn of each at most."""
    model = Model(calls, 1000 * MIB)
    others = [b"x", b"y", b"z"]

    def ticket(name: bytes) -> Ticket:
        return Ticket(Kind.MESSAGE, *((name, b"1") if turns == "canister" else (b"c", name)), 100)

    for _ in range(loud + calls):
        for name in others:
            model.add(ticket(name))
    quiet = ticket(b"quiet")
    model.add(quiet)
    finished = 0
    while quiet in model.waiting:
        model.finish()
        finished += 1
    assert finished <= len(others) + 1


@given(st.lists(st.sampled_from([100, MIB]), max_size=60))
def test_a_large_call_is_not_passed_by_small_ones_for_ever(sizes):
    model = Model(40, 2 * MIB)
    for number, size in enumerate(sizes):
        model.add(Ticket(Kind.MESSAGE, b"a", bytes([number]), size))
    large = Ticket(Kind.MESSAGE, b"b", b"large", 64 * MIB)
    model.add(large)
    for number in range(200):
        model.add(Ticket(Kind.MESSAGE, b"a", number.to_bytes(2, "big"), 100))
        if large in model.under_way:
            break
        model.finish()
    assert large in model.under_way
    assert model.scheduler.bytes_under_way <= 2 * MIB


def test_a_smaller_budget_waits_until_calls_end():
    model = Model(40, 1000 * MIB)
    for number in range(30):
        model.add(Ticket(Kind.MESSAGE, bytes([number]), b"", 100))
    model.scheduler.resize(3, MIB)
    model.add(Ticket(Kind.MESSAGE, b"more", b"", 100))
    while len(model.under_way) > 1:
        assert model.waiting
        model.finish()
    model.finish()
    assert not model.waiting


@given(BUDGETS, STEPS)
def test_a_ticket_that_begins_at_once_is_one_that_was_added_and_started(budget, steps):
    """``begin`` and ``add`` with ``start`` come to the same, so that no order of calls depends on the shorter way."""
    model, direct = Model(*budget), Scheduler(*budget)
    for step in copies(steps):
        before = list(model.under_way)
        model.apply(step)
        if isinstance(step, Ticket):
            has_begun = direct.begin(step)
            assert not has_begun or model.under_way == [*before, step]
            if not has_begun:
                direct.add(step)
                assert not direct.start() or step in model.under_way
        else:
            gone = [ticket for ticket in before if ticket not in model.under_way]
            for ticket in gone or [each for each in direct_waiting(direct) if each not in model.waiting]:
                direct.cancel(ticket)
            direct.start()
        assert direct.under_way == model.scheduler.under_way
        assert direct.bytes_under_way == model.scheduler.bytes_under_way
        assert direct.waiting == model.scheduler.waiting
        assert [ticket for ticket in model.under_way if not direct.has_started(ticket)] == []


def direct_waiting(scheduler: Scheduler) -> list[Ticket]:
    return [
        ticket
        for canisters in scheduler._waiting.values()
        for clients in canisters.values()
        for tickets in clients.values()
        for ticket in tickets
    ]
