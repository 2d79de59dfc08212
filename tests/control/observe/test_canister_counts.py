"""Numbers by canister: bounded, never falling while a label is there, and nothing lost on the way to ``_other``."""

from dataclasses import dataclass, field
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from appliance.control.observe.canister_counts import CanisterTable
from appliance.control.observe.labels import OTHER
from appliance.gateway.calls.scheduler import Kind, Scheduler, Ticket
from appliance.gateway.polling.poller_facts import PollerFacts
from appliance.ic.principal import Principal

IDS = [Principal(bytes([number]) * 10) for number in range(8)]


@dataclass
class Poller:
    """What the table reads of a poller."""

    polls: int = 0
    delivered: int = 0
    state: str = "ok"
    last_good_ns: int | None = None

    @property
    def facts(self) -> PollerFacts:
        return PollerFacts(self.state, 0, self.last_good_ns, 1.0, 0, self.polls, self.delivered, None)


@dataclass
class Gateway:
    """What the table reads of a gateway."""

    now: int = 0
    pollers: dict[Principal, Poller] = field(default_factory=dict)
    clients: dict[Principal, int] = field(default_factory=dict)
    budget: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(scheduler=Scheduler(100, 1 << 30)))

    @property
    def hub(self) -> SimpleNamespace:
        return SimpleNamespace(members=lambda canister_id: range(self.clients.get(canister_id, 0)))

    def clock(self) -> int:
        return self.now


class Machine(RuleBasedStateMachine):
    """Pollers come, work and go; somebody looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.gateway = Gateway()
        self.table = CanisterTable(self.gateway)
        self.most = 3
        self.made = 0
        self.unseen = 0
        self.shown = {}
        self.gone = 0

    @rule(canister_id=st.sampled_from(IDS), clients=st.integers(1, 5))
    def begin(self, canister_id, clients):
        if canister_id not in self.gateway.pollers:
            self.gateway.pollers[canister_id] = Poller()
        self.gateway.clients[canister_id] = clients

    @precondition(lambda self: self.gateway.pollers)
    @rule(data=st.data(), polls=st.integers(1, 10))
    def work(self, data, polls):
        canister_id = data.draw(st.sampled_from(sorted(self.gateway.pollers)))
        self.gateway.pollers[canister_id].polls += polls
        self.gateway.pollers[canister_id].delivered += polls

    @precondition(lambda self: self.gateway.pollers)
    @rule(data=st.data())
    def end(self, data):
        canister_id = data.draw(st.sampled_from(sorted(self.gateway.pollers)))
        del self.gateway.pollers[canister_id], self.gateway.clients[canister_id]

    @rule(canister_id=st.sampled_from(IDS), calls=st.integers(1, 60))
    def call(self, canister_id, calls):
        for _ in range(calls):
            self.gateway.budget.scheduler.add(Ticket(Kind.MESSAGE, bytes(canister_id), b"", 1))
        self.gateway.budget.scheduler.start()

    @rule(most=st.integers(0, 4))
    def reload(self, most):
        self.most = most

    @rule()
    def look(self):
        before, self.shown = self.shown, self.table.update(self.most)
        assert len(self.shown) <= self.most + 1
        assert OTHER in self.shown
        for label in before.keys() & self.shown.keys():
            assert self.shown[label].polls >= before[label].polls
            assert self.shown[label].delivered >= before[label].delivered
        live = {str(canister_id) for canister_id in self.gateway.pollers}
        assert self.shown.keys() - {OTHER} <= live
        kept = before.keys() & live
        if len(self.shown) - 1 < self.most:
            assert self.shown.keys() - {OTHER} == live
        assert len(kept & self.shown.keys()) == min(len(kept), self.most)
        assert sum(counts.clients for counts in self.shown.values()) == sum(self.gateway.clients.values())
        scheduler = self.gateway.budget.scheduler
        assert sum(counts.calls_under_way for counts in self.shown.values()) == scheduler.under_way
        assert sum(counts.calls_waiting for counts in self.shown.values()) == scheduler.waiting


TestMachine = Machine.TestCase


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=30))
def test_what_is_polled_is_counted_once(steps):
    gateway = Gateway(pollers={IDS[number]: Poller() for number in range(4)})
    table, polls = CanisterTable(gateway), 0
    for number, more in steps:
        gateway.pollers[IDS[number]].polls += more
        polls += more
        shown = table.update(2)
        assert sum(counts.polls for counts in shown.values()) == polls


def test_a_poller_that_ended_is_counted_to_its_end():
    gateway = Gateway(pollers={IDS[0]: Poller(polls=5)})
    table = CanisterTable(gateway)
    assert table.update(1)[str(IDS[0])].polls == 5
    gateway.pollers[IDS[0]].polls = 7
    gateway.pollers[IDS[0]] = Poller(polls=1)
    assert table.update(1)[str(IDS[0])].polls == 8
    gateway.pollers.pop(IDS[0]).polls = 4
    assert table.update(1)[OTHER].polls == 3


def test_those_with_the_most_clients_have_names():
    gateway = Gateway(
        pollers={IDS[number]: Poller() for number in range(4)}, clients={IDS[number]: number for number in range(4)}
    )
    assert CanisterTable(gateway).update(2).keys() == {str(IDS[3]), str(IDS[2]), OTHER}


def test_states_and_lag():
    gateway = Gateway(now=10**9)
    gateway.pollers = {IDS[0]: Poller(state="degraded", last_good_ns=5 * 10**8), IDS[1]: Poller(state="paused")}
    table = CanisterTable(gateway)
    table.update(2)
    gateway.now = 3 * 10**9
    shown = table.update(2)
    degraded, paused = shown[str(IDS[0])], shown[str(IDS[1])]
    assert (degraded.degraded, degraded.paused, degraded.lag_s) == (1, 0, 2.5)
    assert (paused.degraded, paused.paused, paused.lag_s) == (0, 1, 2.0)
    others = CanisterTable(gateway).update(0)[OTHER]
    assert (others.degraded, others.paused, others.lag_s) == (1, 1, 2.5)
