"""What the pace of a canister learns from its calls."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.calls.pace import FIRST_GAP_S, FIRST_HOLD_S, LONGEST_GAP_S, SHORTEST_GAP_S, Pace

MOST = 8
EVENTS = st.lists(st.tuples(st.sampled_from(["settled", "alone", "lost"]), st.floats(0.001, 100.0)), max_size=200)


def learn(pace: Pace, events: list[tuple[str, float]]) -> float:
    now = 0.0
    for what, took_s in events:
        now += took_s
        if what == "lost":
            pace.lost_order(now)
        else:
            pace.settled(took_s, was_alone=what == "alone")
    return now


@given(EVENTS)
def test_limit_and_gap_stay_within_their_bounds(events):
    pace = Pace()
    now = learn(pace, events)
    assert 1 <= pace.limit(now, MOST) <= MOST
    assert pace.limit(now, 1) == 1
    assert SHORTEST_GAP_S <= pace.gap_s <= LONGEST_GAP_S


@given(st.floats(0.001, 10.0), st.integers(0, 10))
def test_half_of_the_way_counts_for_the_gap_which_a_slow_endpoint_does_not_end(way_s, losses):
    pace = Pace()
    for _ in range(100):
        pace.accepted(way_s)
    for time in range(losses):
        pace.lost_order(10_000.0 * time)
    gap_s = min(LONGEST_GAP_S, FIRST_GAP_S * 2**losses)
    assert abs(pace.gap_s - max(SHORTEST_GAP_S, gap_s - way_s / 2)) < 1e-9
    assert pace.gap_s + way_s >= min(gap_s, FIRST_GAP_S)


@given(EVENTS, st.integers(0, 200))
def test_a_lost_order_means_one_at_a_time_for_a_while_and_then_two(events, answered):
    pace = Pace()
    now = learn(pace, events) + 10_000.0
    gap_s = pace.gap_s
    pace.lost_order(now)
    assert pace.gap_s == min(LONGEST_GAP_S, 2 * gap_s)
    for _ in range(answered):
        pace.settled(1.0, was_alone=True)
    assert pace.limit(now + 0.99 * FIRST_HOLD_S, MOST) == 1
    assert pace.limit(now + 10_000.0, MOST) == 2
    for _ in range(100):
        pace.settled(1.0, was_alone=False)
    assert pace.limit(now + 10_000.0, MOST) == MOST


@given(st.integers(1, 20))
def test_losses_while_calls_go_one_at_a_time_are_one_event(clients):
    pace, once = Pace(), Pace()
    once.lost_order(100.0)
    for client in range(clients):
        pace.lost_order(100.0 + client)
    assert pace.lost == 1
    assert pace.gap_s == once.gap_s


@given(st.integers(1, 6))
def test_each_loss_in_a_row_holds_twice_as_long(times):
    pace, now = Pace(), 0.0
    held = []
    for _ in range(times):
        pace.lost_order(now)
        held.append(next(seconds for seconds in range(2000) if pace.limit(now + seconds, MOST) > 1))
        now += held[-1]
    assert held == [min(600, 60 * 2**time) for time in range(times)]


@given(st.floats(0.1, 20.0), st.integers(0, 100))
def test_what_waits_takes_as_long_as_the_window_lets_it(call_s, waiting):
    pace = Pace()
    assert pace.wait_s(waiting, 0.0, MOST) == 0
    for _ in range(100):
        pace.settled(call_s, was_alone=True)
    each_s = max(pace.gap_s, call_s / MOST)
    assert abs(pace.wait_s(waiting, 0.0, MOST) - waiting * each_s) < 1e-6
    assert abs(pace.wait_s(waiting, 0.0, 1) - waiting * call_s) < 1e-6
