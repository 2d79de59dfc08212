from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.shared.demand import ENOUGH, HOLDS_S, Demand

rates = st.floats(0, 1e5)


@given(rates, rates)
def test_always_and_never_need_no_reason(polls: float, budget: float) -> None:
    assert Demand().after("always", polls, budget, 0).is_on
    assert not Demand(True).after("never", polls, budget, 0).is_on


def test_polls_are_shared_where_all_nodes_together_would_exceed_the_budget() -> None:
    assert not Demand().after("auto", 200, 200, 0).is_on
    assert Demand().after("auto", 201, 200, 0).is_on


def test_what_changes_from_one_moment_to_the_next_changes_nothing() -> None:
    on = Demand().after("auto", 201, 200, 100)
    assert on.after("auto", 0, 200, 100 + HOLDS_S - 1) == on
    assert on.after("auto", 199, 200, 100 + HOLDS_S).is_on
    off = on.after("auto", 200 * ENOUGH - 1, 200, 100 + HOLDS_S)
    assert not off.is_on
    assert off.after("auto", 1000, 200, 100 + HOLDS_S + 1) == off
