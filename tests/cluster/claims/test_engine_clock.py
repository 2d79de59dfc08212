from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.claims.engine_clock import EngineClock

BEATS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)
"""Seconds until each heartbeat, until it is at the engine, and until its answer is here."""


@given(st.floats(0, 10**6), st.integers(0, 2 * 10**12), BEATS, st.floats(-100, 100))
def test_the_time_of_the_engine_is_between_the_earliest_and_the_latest(start, ahead_ms, beats, moment):
    clock, at, shortest = EngineClock(), start, 10.0
    for wait, there, back in beats:
        at += wait
        clock.answered(int((at + there) * 1000) + ahead_ms, sent=at, at=at + there + back)
        shortest = there + back if len(beats) <= 16 else 10.0
        at += there + back
    true = (at + moment) * 1000 + ahead_ms
    assert clock.earliest_ms(at + moment) <= true + 1
    assert clock.latest_ms(at + moment) >= true - 1
    assert clock.latest_ms(at + moment) - clock.earliest_ms(at + moment) <= shortest * 1000 + 300


def test_a_clock_that_was_set_counts_from_then_on():
    clock = EngineClock()
    assert clock.latest_ms(5.0) == 0
    for second in range(5):
        clock.answered(10**12 + second * 1000, sent=float(second), at=second + 0.001)
    clock.answered(10**12 - 10**6, sent=6.0, at=6.001)
    assert clock.latest_ms(6.001) == 10**12 - 10**6 + 2
    assert clock.earliest_ms(6.001) == 10**12 - 10**6


def test_one_slow_heartbeat_changes_nothing():
    clock = EngineClock()
    clock.answered(1000, sent=1.0, at=1.001)
    clock.answered(2000, sent=2.0, at=4.5)
    assert clock.latest_ms(4.5) - clock.earliest_ms(4.5) <= 6
