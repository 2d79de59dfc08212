from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.subnet.draws import Draws

PURPOSES = st.tuples(st.text(max_size=3), st.integers(0, 20))


@given(st.binary(max_size=8), st.lists(PURPOSES, unique=True))
def test_the_order_of_draws_does_not_matter(seed: bytes, purposes: list[tuple[str, int]]) -> None:
    forwards, backwards = Draws(seed), Draws(seed)
    first = {purpose: forwards.fraction(*purpose) for purpose in purposes}
    assert {purpose: backwards.fraction(*purpose) for purpose in reversed(purposes)} == first


def test_other_seeds_and_purposes_draw_other_numbers() -> None:
    drawn = {Draws(bytes([seed])).fraction("purpose", number) for seed in range(20) for number in range(20)}
    assert len(drawn) == 400


def test_draws_cover_their_range_evenly() -> None:
    draws = Draws(b"even")
    counts = [0] * 13
    for number in range(13_000):
        counts[draws.index(13, number)] += 1
        assert 2.0 <= draws.uniform((2.0, 3.0), number) < 3.0
    assert all(900 < count < 1100 for count in counts)
    assert draws.uniform((2.0, 2.0), "a span of one value") == 2.0
