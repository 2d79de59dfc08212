"""Newcomers go to whoever has less than its part, and there is always somebody who takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.balance import MOST, SLACK, Shares, mean_of

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@given(COUNTS)
def test_somebody_always_takes_newcomers(counts: list[int]) -> None:
    mean = mean_of(counts)
    assert not all(Shares(mean, own).has_enough(own) for own in counts)


@given(COUNTS, st.integers(0, 5000))
def test_a_crowd_that_comes_to_all_keeps_nobody_from_accepting_who_had_its_part(counts: list[int], more: int) -> None:
    mean = mean_of(counts)
    for own in counts:
        if not Shares(mean, own).has_enough(own):
            assert not Shares(mean, own).has_enough(own + more)


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_who_has_much_more_than_the_others_leaves_newcomers_to_them(mean: int, over: int) -> None:
    own = mean + over
    assert Shares(mean, own).has_enough(own) == (own > MOST * mean and over > SLACK)


def test_after_a_restart_the_empty_worker_gets_the_newcomers_until_it_has_its_part() -> None:
    counts = [300, 0]
    for _ in range(1000):
        mean = mean_of(counts)
        taking = [number for number, own in enumerate(counts) if not Shares(mean, own).has_enough(own)]
        counts[taking[0]] += 1
    assert max(counts) <= MOST * mean_of(counts) + 1


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_who_gets_many_at_once_waits_for_the_others_and_not_for_ever(mean: int, own: int, more: int) -> None:
    shares = Shares(mean, own)
    now = own + more
    assert shares.is_ahead(now) == (more >= SLACK and more >= own // 2)
    assert not shares.later(now).is_ahead(now)
    assert shares.later(now).has_enough(now) == shares.has_enough(now)


def test_where_nobody_accepts_the_mean_is_none() -> None:
    assert mean_of([]) == pytest.approx(0)
