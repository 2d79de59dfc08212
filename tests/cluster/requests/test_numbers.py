from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.requests.numbers import Numbers, Seen

SENDERS = st.sampled_from([b"a", b"b", b"c", b"d"])
CAME = st.lists(st.tuples(SENDERS, st.integers(1, 30)), max_size=200)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_numbers_grow_whatever_the_clock_does(times: list[int]) -> None:
    coming = iter(times)
    numbers = Numbers(lambda: next(coming))
    given_out = [numbers.next() for _ in times]
    assert given_out == sorted(set(given_out))
    assert given_out[0] >= times[0]


@given(CAME, st.integers(1, 6))
def test_nothing_is_accepted_twice(came: list[tuple[bytes, int]], remembered: int) -> None:
    seen, accepted = Seen(remembered), set[tuple[bytes, int]]()
    for each in came:
        if seen.add(*each):
            assert each not in accepted
            accepted.add(each)
        assert each in seen


@given(CAME)
def test_the_first_time_counts_while_all_are_remembered(came: list[tuple[bytes, int]]) -> None:
    seen, known = Seen(30), set[tuple[bytes, int]]()
    for each in came:
        assert seen.add(*each) == (each not in known)
        known.add(each)


@given(CAME, st.integers(1, 6))
def test_it_remembers_no_more_than_it_may(came: list[tuple[bytes, int]], remembered: int) -> None:
    seen = Seen(remembered)
    for each in came:
        seen.add(*each)
    assert len(seen._senders) <= remembered
    assert all(len(each._recent) == len(each._order) <= remembered for each in seen._senders.values())


def test_what_grows_is_accepted_from_more_senders_than_are_remembered() -> None:
    seen = Seen(3)
    assert all(seen.add(number.to_bytes(4, "big"), number) for number in range(1, 100))


def test_numbers_up_to_the_floor_count_as_seen() -> None:
    seen = Seen(floor=7)
    assert [seen.add(b"a", number) for number in (7, 8)] == [False, True]
