"""Laws of the order of a client's calls, over any sequence of inputs."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.calls.window import OUTCOMES_PER_PLACE, SendWindow

GAP_S = 0.05
INPUTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put barrier", "accepted", "troubled", "settled", "executed", "tick", "gap"]),
        st.integers(0, 7),
    ),
    max_size=120,
)


class Model:
    """Applies inputs to a window, and remembers by itself what is true of every call."""

    def __init__(self, limit: int) -> None:
        self.window = SendWindow(limit)
        self.limit = limit
        self.now = 0.0
        self.sent: list[int] = []
        self.under_way: set[int] = set()
        self.executed = -1
        self.accepted: dict[int, float] = {}
        self.troubled: set[int] = set()
        self.barriers: set[int] = set()
        self.overlapped: set[int] = set()

    def apply(self, what: str, which: int) -> None:
        if what.startswith("put"):
            number = self.window.put(barrier="barrier" in what)
            if "barrier" in what:
                self.barriers.add(number)
        elif what == "gap":
            self.now += GAP_S
        elif what == "tick":
            self.now += GAP_S / 10
        elif self.under_way:
            number = sorted(self.under_way)[which % len(self.under_way)]
            getattr(self, f"_{what}")(number)
        self.send()

    def send(self) -> None:
        due_at = self.window.due_at(gap_s=GAP_S, limit=100)
        number = self.window.send(self.now, gap_s=GAP_S, limit=100)
        assert (number is not None) == (due_at is not None and due_at <= self.now)
        if number is None:
            return
        self.check(number)
        if self.under_way:
            self.overlapped |= self.under_way | {number}
        self.sent.append(number)
        self.under_way.add(number)
        for each in self.under_way:
            assert self.window.was_alone(each) == (each not in self.overlapped)

    def check(self, number: int) -> None:
        """Nothing is sent that could overtake another call."""
        assert len(self.under_way) < OUTCOMES_PER_PLACE * self.limit
        assert len(self.pending) < self.limit
        assert not self.pending & self.troubled
        assert not self.under_way & self.barriers
        assert not self.under_way or number not in self.barriers
        for other in self.pending:
            assert self.now >= self.accepted[other] + GAP_S

    @property
    def pending(self) -> set[int]:
        """Those under way that may not be executed yet."""
        return {number for number in self.under_way if number > self.executed}

    def _accepted(self, number: int) -> None:
        self.window.accepted(number, self.now)
        self.accepted.setdefault(number, self.now)

    def _troubled(self, number: int) -> None:
        self.window.troubled(number)
        self.troubled.add(number)

    def _settled(self, number: int) -> None:
        self.window.settled(number)
        self.under_way.discard(number)

    def _executed(self, number: int) -> None:
        self.window.settled(number, was_executed=True)
        self.under_way.discard(number)
        self.executed = max(self.executed, number)


@given(INPUTS, st.integers(1, 8))
def test_calls_go_in_order_and_none_goes_that_could_overtake(inputs, limit):
    model = Model(limit)
    for what, which in inputs:
        model.apply(what, which)
        assert model.sent == list(range(len(model.sent)))
        assert model.window.under_way == len(model.under_way) <= OUTCOMES_PER_PLACE * limit
        assert len(model.pending) <= limit


@given(INPUTS, st.integers(1, 8))
def test_all_are_sent_once_what_is_under_way_is_settled(inputs, limit):
    model = Model(limit)
    for what, which in inputs:
        model.apply(what, which)
    put = model.window.waiting + len(model.sent)
    while model.under_way:
        model.apply("settled", 0)
    assert model.sent == list(range(put))
    assert model.window.due_at(gap_s=GAP_S, limit=100) is None


@given(INPUTS)
def test_with_a_limit_of_one_the_next_waits_for_the_outcome(inputs):
    model = Model(1)
    for what, which in inputs:
        model.apply(what, which)
        assert model.window.to_confirm(limit=100) is None
    assert not model.overlapped


@given(INPUTS, st.integers(2, 8))
def test_confirming_what_is_asked_for_lets_the_next_one_go(inputs, limit):
    model = Model(limit)
    for what, which in inputs:
        model.apply(what, which)
        number = model.window.to_confirm(limit=100)
        if number is not None:
            assert number in model.under_way
            assert number not in model.accepted
            waiting = model.window.waiting
            model.apply("accepted", sorted(model.under_way).index(number))
            model.apply("gap", 0)
            assert model.window.waiting < waiting


@given(st.integers(2, 8), st.data())
def test_a_call_that_was_executed_lets_others_go_whatever_became_of_those_before_it(limit, data):
    model = Model(limit)
    for _ in range(limit):
        model.apply("put", 0)
        model.apply("accepted", len(model.under_way) - 1)
        model.apply("gap", 0)
    model.apply("put", 0)
    model.apply("troubled", 0)
    assert model.window.waiting == 1
    which = data.draw(st.integers(1, limit - 1))
    model.apply("executed", which)
    assert model.window.waiting == 0
    assert model.window.under_way == limit


@given(INPUTS, st.integers(1, 8))
def test_a_failed_call_takes_along_all_that_wait(inputs, limit):
    model = Model(limit)
    for what, which in inputs:
        model.apply(what, which)
    if model.under_way:
        model.window.failed(min(model.under_way))
        model.under_way.remove(min(model.under_way))
    else:
        model.window.clear()
    assert model.window.waiting == 0
    assert model.window.under_way == len(model.under_way)
    assert model.window.due_at(gap_s=GAP_S, limit=100) is None


@given(INPUTS, st.integers(1, 4))
def test_the_canisters_limit_counts_beside_the_clients_own(inputs, limit):
    model = Model(8)
    for what, which in inputs:
        model.apply(what, which)
        if len(model.pending) >= limit or model.window.under_way >= OUTCOMES_PER_PLACE * limit:
            assert model.window.send(model.now + 1e9, gap_s=0, limit=limit) is None
            assert model.window.due_at(gap_s=0, limit=limit) is None
            assert model.window.to_confirm(limit=limit) is None
