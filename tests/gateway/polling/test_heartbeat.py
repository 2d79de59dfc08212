"""Laws of the acknowledgements, with times of the test."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.polling.heartbeat import DEFAULT_NS, INTERVALS, ROUND_NS, Heartbeat

intervals = st.integers(ROUND_NS + 1, 4 * DEFAULT_NS)


@given(intervals, st.integers(1, 20), st.integers(1, 5))
def test_a_client_that_the_canister_knows_is_never_silent_and_a_forgotten_one_within_two_intervals(interval, rounds, n):
    """Learned from the third acknowledgement on."""
    beat, now = Heartbeat(), 10**18
    beat.resumed(now)
    known, forgotten = b"known", b"forgotten"
    for number in range(rounds):
        now += interval
        for place in range(n):
            beat.acknowledged(now - 1000 + place)
        beat.received(known, now)
        if number == 0:
            beat.received(forgotten, now)
        assert known not in beat.silent(now)
        if number > 1:
            assert beat.interval_ns == interval
    silent = beat.silent(now + 1)
    told = (rounds - 1) * interval + 1 > INTERVALS * (interval if rounds > 1 else DEFAULT_NS)
    assert set(silent) == ({forgotten} if told else set())
    if told:
        assert silent[forgotten] == (rounds - 1) * interval + 1


def test_300_seconds_until_it_is_learned():
    beat = Heartbeat()
    beat.resumed(10**18)
    beat.received(b"client", 10**18)
    assert not beat.silent(10**18 + INTERVALS * DEFAULT_NS)
    assert beat.silent(10**18 + INTERVALS * DEFAULT_NS + 1)


@given(st.integers(1, 10 * DEFAULT_NS))
def test_silence_without_polls_does_not_count(outage):
    beat = Heartbeat()
    beat.received(b"client", 0)
    beat.resumed(outage)
    assert not beat.silent(outage + INTERVALS * DEFAULT_NS)
    beat.acknowledged(outage)
    assert beat.interval_ns == DEFAULT_NS, "the rounds before were not all seen"


def test_who_left_is_not_silent():
    beat = Heartbeat()
    beat.received(b"client", 0)
    beat.left(b"client")
    assert not beat.silent(10**20)


@given(st.integers(1, 4 * DEFAULT_NS), st.booleans())
def test_the_configuration_bounds_the_silence_also_of_canisters_without_acknowledgements(max_silence, acknowledges):
    beat = Heartbeat(acknowledges=acknowledges)
    beat.resumed(0)
    beat.received(b"client", 0)
    limit = min(max_silence, INTERVALS * DEFAULT_NS) if acknowledges else max_silence
    assert not beat.silent(limit, max_silence)
    assert beat.silent(limit + 1, max_silence) == {b"client": limit + 1}


def test_without_acknowledgements_and_configuration_no_silence_is_too_long():
    beat = Heartbeat(acknowledges=False)
    beat.resumed(0)
    beat.received(b"client", 0)
    assert not beat.silent(10**20)
