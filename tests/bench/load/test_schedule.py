"""Due times are fixed ahead, at the rate, and do not depend on what happens meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.load.schedule import Schedule

RATES = st.floats(0.1, 10_000)
SECONDS = st.floats(0.01, 2)


@given(RATES, SECONDS)
def test_the_rate_is_kept(rate: float, seconds: float) -> None:
    schedule = Schedule.even(rate, seconds, start_ns=0)
    assert len(schedule) == max(1, round(rate * seconds))
    assert all(due == round(number * 1e9 / rate) for number, due in enumerate(schedule.due_ns))


@given(RATES, SECONDS, st.integers(0, 10))
def test_jitter_keeps_order_and_stays_within_the_interval(rate: float, seconds: float, seed: int) -> None:
    even, jittered = (Schedule.even(rate, seconds, start_ns=0), Schedule.jittered(rate, seconds, seed, start_ns=0))
    assert jittered.due_ns == tuple(sorted(jittered.due_ns))
    assert jittered == Schedule.jittered(rate, seconds, seed, start_ns=0)
    for early, due in zip(even.due_ns, jittered.due_ns, strict=True):
        assert early <= due <= early + 1e9 / rate + 1


@given(RATES, SECONDS, st.integers(0, 3 * 10**9))
def test_due_by_counts_what_is_due(rate: float, seconds: float, now_ns: int) -> None:
    schedule = Schedule.even(rate, seconds, start_ns=0)
    assert schedule.due_by(now_ns) == sum(due <= now_ns for due in schedule.due_ns)


def test_the_time_that_is_left_ends_at_zero() -> None:
    schedule = Schedule((0, 2_000_000_000))
    assert [schedule.left_s(now_ns) for now_ns in (0, 1_500_000_000, 9_000_000_000)] == [2.0, 0.5, 0.0]
