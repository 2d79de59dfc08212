"""Laws of the histogram, against the sorted values themselves."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.histogram import Histogram

VALUES = st.lists(st.integers(0, 10**13), min_size=1)
SHARES = st.sampled_from([0.0, 0.07, 0.5, 0.9, 0.99, 0.999, 1.0])


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(VALUES, SHARES)
def test_a_quantile_is_not_below_the_value_and_at_most_a_64th_above(values: list[int], share: float) -> None:
    exact = sorted(values)[max(1, ceil(round(share * len(values), 6))) - 1]
    measured = of(values).quantile(share)
    assert measured is not None
    assert exact <= measured <= exact * (1 + 1 / 64)


@given(VALUES)
def test_the_largest_is_exact(values: list[int]) -> None:
    assert of(values).quantile(1.0) == max(values)


@given(VALUES, VALUES)
def test_merged_histograms_are_the_histogram_of_all(some: list[int], others: list[int]) -> None:
    merged = of(some)
    merged.merge(of(others))
    assert merged == of(some + others)


@given(VALUES)
def test_points_ascend_to_all_values(values: list[int]) -> None:
    points = list(of(values).points())
    assert points == sorted(points)
    assert points[-1] == (max(values), 1.0)


def test_nothing_recorded_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_a_negative_duration_counts_as_zero() -> None:
    assert of([-5]) == of([0])
