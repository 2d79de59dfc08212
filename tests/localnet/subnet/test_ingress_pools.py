"""Orders of calls in blocks, with draws of many seeds and without any clock."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.state.ingress import Call
from appliance.localnet.subnet.draws import Draws
from appliance.localnet.subnet.ingress_pools import IngressPools
from tests.localnet.subnet.fleet import MS

REPLICAS = 4
LOW, HIGH = 20, 80
LATER = 10**15


class Post(NamedTuple):
    """A call posted to a replica, milliseconds after the one before."""

    replica: int
    gap_ms: int


POSTS = st.lists(st.builds(Post, st.integers(0, REPLICAS - 1), st.integers(0, 50)), max_size=12)


def call(number: int) -> Call:
    return Call(number.to_bytes(32, "big"), Principal(b"user"), Principal(b"canister"), "add", b"")


def number_of(taken: Call) -> int:
    return int.from_bytes(taken.request_id, "big")


def filled(posts: list[Post], seed: bytes) -> tuple[IngressPools, list[int]]:
    """Pools in which call n is the n-th post, and when each was posted in milliseconds."""
    pools, now, times = IngressPools((LOW / 1000, HIGH / 1000), Draws(seed)), 0, []
    for number, post in enumerate(posts):
        now += post.gap_ms
        times.append(now)
        pools.receive(call(number), post.replica, now_ns=now * MS, expiry_ns=LATER)
    return pools, times


@given(POSTS, st.integers(0, REPLICAS - 1), st.binary(max_size=4))
def test_a_block_has_the_order_of_arrival_at_its_maker(posts: list[Post], maker: int, seed: bytes) -> None:
    pools, times = filled(posts, seed)
    taken = [number_of(each) for each in pools.take(maker, now_ns=LATER, limit=100)]
    assert sorted(taken) == list(range(len(posts)))
    assert len(pools) == 0
    own = [number for number in taken if posts[number].replica == maker]
    assert own == sorted(own)  # received by the maker itself: in the order of posting
    for place, first in enumerate(taken):
        for second in taken[place + 1 :]:
            earliest = times[first] + (0 if posts[first].replica == maker else LOW)
            latest = times[second] + (0 if posts[second].replica == maker else HIGH)
            assert earliest <= latest


@given(POSTS, st.integers(0, REPLICAS - 1), st.integers(0, 700), st.binary(max_size=4))
def test_a_maker_takes_what_it_has_and_nothing_else(posts: list[Post], maker: int, at: int, seed: bytes) -> None:
    pools, times = filled(posts, seed)
    taken = {number_of(each) for each in pools.take(maker, now_ns=at * MS, limit=100)}
    for number, (post, time) in enumerate(zip(posts, times, strict=True)):
        least, most = (0, 0) if post.replica == maker else (LOW, HIGH)
        assert number in taken or time + most > at
        assert number not in taken or time + least <= at
    assert len(pools) == len(posts) - len(taken)


def test_a_full_block_leaves_the_last_arrivals() -> None:
    pools, _ = filled([Post(0, 1)] * 10, b"")
    assert [number_of(each) for each in pools.take(0, now_ns=LATER, limit=4)] == [0, 1, 2, 3]
    assert [number_of(each) for each in pools.take(0, now_ns=LATER, limit=100)] == [4, 5, 6, 7, 8, 9]


def test_a_call_posted_to_two_replicas_is_one_call_with_the_earlier_arrival() -> None:
    pools, one, same = IngressPools((1.0, 1.0), Draws(b"")), call(1), call(1)
    assert pools.receive(one, 0, now_ns=0, expiry_ns=LATER) is one
    assert pools.receive(same, 1, now_ns=10, expiry_ns=LATER) is one
    assert len(pools) == 1
    assert pools.take(1, now_ns=9, limit=10) == []
    assert pools.take(1, now_ns=10, limit=10) == [one]


def test_an_expired_call_is_in_no_block() -> None:
    pools = IngressPools((0.0, 0.0), Draws(b""))
    pools.receive(call(1), 0, now_ns=0, expiry_ns=100)
    pools.remove_expired(now_ns=100)
    assert len(pools) == 1
    pools.remove_expired(now_ns=101)
    assert len(pools) == 0


def swaps(spacing_ms: int, *, seeds: int = 2000, replicas: int = 13) -> float:
    """How often the second of two calls that go through one replica is executed first."""
    swapped = 0
    for seed in range(seeds):
        draws = Draws(seed.to_bytes(4, "big"))
        pools = IngressPools((LOW / 1000, HIGH / 1000), draws)
        for number in (0, 1):
            pools.receive(call(number), 0, now_ns=number * spacing_ms * MS, expiry_ns=LATER)
        order = pools.take(draws.index(replicas, "block maker"), now_ns=LATER, limit=10)
        swapped += number_of(order[0]) == 1
    return swapped / seeds


def test_two_calls_swap_the_less_the_further_apart_they_are() -> None:
    """The delays of gossip differ by up to 60 ms, by more than s with probability (60 - s)^2 / (2 * 60^2); the replica
    that received both makes one block of 13, in which they never swap."""
    spacings = (0, 10, 20, 30, 40, 50, 60)
    measured = [swaps(spacing) for spacing in spacings]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] == 0
    expected = [12 / 13 * (HIGH - LOW - spacing) ** 2 / (2 * (HIGH - LOW) ** 2) for spacing in spacings]
    assert measured == pytest.approx(expected, abs=0.03)
