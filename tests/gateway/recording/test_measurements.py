"""Buckets, sums and estimates against the durations themselves."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.recording.measurements import BOUNDS_NS, Histogram

durations = st.lists(st.sampled_from(BOUNDS_NS).map(int) | st.integers(-(10**9), 10**11), max_size=50)


@given(durations)
def test_every_bound_knows_how_many_were_not_above_it(values):
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    *finite, (last, total) = histogram.at_most()
    assert [count for _, count in finite] == [sum(value <= bound for value in values) for bound in BOUNDS_NS]
    assert (last, total) == (float("inf"), len(values))
    assert histogram.count == len(values)
    assert histogram.sum_ns == sum(value for value in values if value > 0)


@given(durations, st.integers(1, 60 * 10**9), st.integers(1, 100))
def test_several_at_once_are_as_many_one_by_one(values, value, times):
    one, other = Histogram(), Histogram()
    for histogram in (one, other):
        for each in values:
            histogram.observe(each)
    one.observe(value, times)
    for _ in range(times):
        other.observe(value)
    assert (one.counts, one.sum_ns) == (other.counts, other.sum_ns)


@given(durations.filter(len), st.floats(0, 1))
def test_a_quantile_is_within_the_bucket_of_the_true_one(values, part):
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    ordered = sorted(max(value, 0) for value in values)
    true = next(value for rank, value in enumerate(ordered, start=1) if rank >= part * len(ordered))
    bucket = bisect_left(BOUNDS_NS, true)
    lower = (0, *BOUNDS_NS)[bucket] / 1e9
    upper = (*BOUNDS_NS, BOUNDS_NS[-1])[bucket] / 1e9
    found = histogram.quantile_s(part)
    assert lower * (1 - 1e-9) <= found <= upper * (1 + 1e-9)


def test_nothing_measured_has_no_quantile():
    assert Histogram().quantile_s(0.5) is None


def test_the_bounds_are_as_people_expect():
    assert BOUNDS_NS[0] == 10**5
    assert BOUNDS_NS[-1] == 5 * 10**10
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))


@pytest.mark.parametrize("duration", [0, -5])
def test_what_took_no_time_is_counted_and_adds_none(duration):
    histogram = Histogram()
    histogram.observe(duration)
    assert (histogram.counts[0], histogram.sum_ns) == (1, 0)
