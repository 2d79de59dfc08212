"""A worker that ends again and again is started less and less often."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.supervisor.restarts import FIRST_S, MAX_S, STEADY_S, Restarts


@given(st.lists(st.floats(0, STEADY_S, exclude_max=True), min_size=1, max_size=200))
def test_waits_grow_to_a_bound_while_it_ends_soon(runs: list[float]) -> None:
    restarts = Restarts()
    waits = [(restarts := restarts.ended(ran_s)).wait_s for ran_s in runs]
    assert waits[0] == FIRST_S
    assert waits == sorted(waits)
    assert max(waits) <= MAX_S


def test_one_that_has_run_for_long_begins_anew() -> None:
    assert Restarts(9).ended(STEADY_S).wait_s == FIRST_S
    assert Restarts().wait_s == 0
