"""The laws of the limiter: never too much, never too strict, and true to what it says."""

from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.units import parse_rate
from appliance.gateway.limits.gcra import MAX_THROTTLED, UNIT, Limiter, Mode

SECOND = 10**9


@dataclass(frozen=True)
class RateLimit:
    rate: float = 5.0
    burst: int = 4
    mode: Mode = "enforce"

    @property
    def exactly(self) -> Fraction:
        """Events a nanosecond, as the limiter takes the rate."""
        return Fraction(max(1, round(self.rate * UNIT / SECOND)), UNIT)


rates = st.sampled_from([1 / 3600, 5 / 60, 1 / 3, 1.0, 5.0, 7.5, 20.0, 333.0, 1e6]) | st.floats(1 / 3600, 1e6)
limit = st.builds(RateLimit, rates, st.integers(1, 30))


@st.composite
def arrivals(draw, limit: RateLimit, *, most: int = 60) -> list[int]:
    """Times at which somebody comes, around the rate of the limit."""
    interval = max(1, int(1 / limit.exactly))
    gaps = st.sampled_from([0, 1, interval - 1, interval, interval + 1, 3 * interval]) | st.integers(0, 2 * interval)
    now, times = draw(st.integers(0, 10**18)), []
    for gap in draw(st.lists(gaps, min_size=1, max_size=most)):
        now += gap
        times.append(now)
    return times


def too_many(times: list[int], limit: RateLimit) -> bool:
    """Whether some window has more than ``burst + rate * its length``."""
    return any(
        last - first + 1 > limit.burst + limit.exactly * (times[last] - times[first])
        for first in range(len(times))
        for last in range(first, len(times))
    )


@given(st.data(), limit)
def test_no_window_has_more_than_the_burst_and_what_the_rate_gives(data, limit):
    times = data.draw(arrivals(limit))
    limiter = Limiter[str](limit, now_ns=times[0])
    assert not too_many([at for at in times if not limiter.take("client", at)], limit)


@given(st.data(), limit)
def test_who_keeps_to_the_rate_is_never_limited(data, limit):
    kept: list[int] = []
    for at in data.draw(arrivals(limit)):
        if not too_many([*kept, at], limit):
            kept.append(at)
    limiter = Limiter[str](limit, now_ns=kept[0])
    assert [limiter.take("client", at) for at in kept] == [0] * len(kept)


@given(st.data(), limit)
def test_the_delay_is_exact(data, limit):
    times = data.draw(arrivals(limit))
    times += [times[-1]] * (limit.burst + 1)  # the last is limited for certain
    limiter = Limiter[str](limit, now_ns=times[0])
    for at in times:
        before = deepcopy(limiter)
        if delay := limiter.take("client", at):
            assert before.take("client", at + delay - 1) == 1
            assert before.take("client", at + delay) == 0
    assert delay


@given(st.data(), limit, limit)
def test_other_terms_change_the_pace_and_forget_nothing(data, old, new):
    """What the old limit let through counts: at the change, and at the new pace from then on."""
    before = data.draw(arrivals(old, most=30))
    limiter = Limiter[str](old, now_ns=before[0])
    used, last = Fraction(0), before[0]
    for at in before:
        used = max(Fraction(0), used - old.exactly * (at - last))
        last = at
        used += limiter.take("client", at) == 0
    changed_at = last + data.draw(st.integers(0, SECOND))
    used = max(Fraction(0), used - old.exactly * (changed_at - last))
    limiter.follow(new, now_ns=changed_at)
    assert (limiter.take("client", changed_at) == 0) == (used + 1 <= new.burst)


def test_who_was_limited_waits_by_the_new_terms_after_a_change():
    limiter = Limiter[str](RateLimit(rate=1 / 60, burst=2), now_ns=0)
    assert [limiter.take("client", 0) for _ in range(3)] == [0, 0, 60 * SECOND]
    limiter.follow(RateLimit(rate=10.0, burst=2), now_ns=SECOND)
    (waiting,) = limiter.waiting(SECOND)
    assert 98_000_000 < waiting.delay_ns <= 100_000_000
    assert limiter.take("client", SECOND + waiting.delay_ns) == 0


def test_a_smaller_burst_does_not_punish_for_the_larger_one_before():
    limiter = Limiter[str](RateLimit(rate=1.0, burst=100), now_ns=0)
    assert not any(limiter.take("client", 0) for _ in range(100))
    limiter.follow(RateLimit(rate=1.0, burst=2), now_ns=0)
    assert limiter.take("client", 0) == SECOND


@given(st.integers(1, 1000), st.sampled_from(["s", "m", "h"]))
def test_rates_are_taken_exactly_as_they_are_written(number, unit):
    limiter = Limiter[str](RateLimit(rate=parse_rate(f"{number}/{unit}"), burst=1), now_ns=0)
    limiter.take("client", 0)
    assert limiter.take("client", 0) == ceil(Fraction({"s": 1, "m": 60, "h": 3600}[unit], number) * SECOND)


def test_keys_do_not_share():
    limiter = Limiter[str](RateLimit(burst=1), now_ns=0)
    assert limiter.take("one", 0) == 0
    assert limiter.take("two", 0) == 0
    assert limiter.take("one", 0) == SECOND // 5


@given(st.lists(st.tuples(st.integers(0, 13), st.sampled_from([0, 0, SECOND // 50, SECOND // 10])), max_size=100))
def test_what_is_remembered_is_bounded_and_who_used_up_nothing_goes_first(steps):
    limit = RateLimit(rate=5.0, burst=1)
    limiter, now = Limiter[int](limit, now_ns=0, remembered=10), 0
    alone = {key: Limiter[int](limit, now_ns=0) for key in range(14)}
    for key, gap in steps:
        now += gap
        delay, alone_delay = limiter.take(key, now), alone[key].take(key, now)
        assert len(limiter) <= 10
        if limiter.forgotten:
            break
        assert delay == alone_delay


def test_where_everybody_has_used_up_something_the_oldest_is_forgotten():
    limiter = Limiter[int](RateLimit(rate=1.0, burst=1), now_ns=0, remembered=10)
    for key in range(11):
        assert limiter.take(key, 0) == 0
    assert (len(limiter), limiter.forgotten) == (10, 1)
    limited = [key for key in range(11) if limiter.take(key, 1)]
    assert len(limited) >= 9


def test_of_those_who_were_limited_the_last_are_noted():
    limiter = Limiter[int](RateLimit(rate=1.0, burst=1), now_ns=0)
    for key in range(MAX_THROTTLED + 5):
        limiter.take(key, 0)
        limiter.take(key, 0)
    limiter.take(5, 0)
    waiting = list(limiter.waiting(0))
    assert len(waiting) == MAX_THROTTLED
    assert waiting[-1] == (5, SECOND, 2)
    assert not list(limiter.waiting(SECOND))


def test_decisions_are_counted_by_mode_and_shadow_decides_as_enforce_does():
    enforce = RateLimit(rate=1.0, burst=2)
    limiter = Limiter[str](enforce, now_ns=0)
    told = [limiter.take("client", 0) for _ in range(3)]
    limiter.follow(replace(enforce, mode="shadow"), now_ns=10 * SECOND)
    assert [limiter.take("client", 10 * SECOND) for _ in range(3)] == told
    assert limiter.decisions == {
        ("allowed", "enforce"): 2,
        ("limited", "enforce"): 1,
        ("allowed", "shadow"): 2,
        ("limited", "shadow"): 1,
    }


def test_off_remembers_nothing():
    limiter = Limiter[str](RateLimit(burst=1), now_ns=0)
    limiter.take("client", 0)
    limiter.take("client", 0)
    limiter.follow(RateLimit(burst=1, mode="off"), now_ns=0)
    assert (len(limiter), list(limiter.waiting(0))) == (0, [])
    assert set(limiter.decisions) == {("allowed", "enforce"), ("limited", "enforce")}


@pytest.mark.parametrize("used", [0, 1, 3])
def test_a_key_takes_along_what_it_has_used_up(used):
    one, other = (
        Limiter[str](RateLimit(rate=1.0, burst=3), now_ns=0),
        Limiter[str](RateLimit(rate=2.0, burst=3), now_ns=7),
    )
    for _ in range(used):
        one.take("client", 10)
        one.take("else", 10)
    one.hand_over(other, lambda key: key == "client", now_ns=10)
    assert [other.take("client", 10) == 0 for _ in range(3)] == [number + used < 3 for number in range(3)]
    assert len(one) == (used > 0)
