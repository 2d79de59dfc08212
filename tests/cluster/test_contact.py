from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.contact import BEAT_S, FIRST_WAIT_S, MAX_WAIT_S, SETTLE_S, Contact


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_wait_grows_and_has_a_bound(failures: int, jitter: float) -> None:
    contact = Contact("away", 0.0)
    for number in range(failures):
        contact = contact.failed(float(number), "no answer")
    assert FIRST_WAIT_S / 2 <= contact.wait_s(jitter) <= MAX_WAIT_S
    assert contact.failures == failures
    assert contact.problem == "no answer"
    assert contact.joined(5000.0, was_known=True).wait_s(jitter) == BEAT_S


def test_the_beginning_of_a_state_is_kept_until_it_ends() -> None:
    away = Contact("away", 1.0).failed(2.0, "no answer").failed(3.0, "still none")
    assert (away.state, away.since) == ("away", 1.0)
    refused = away.failed(4.0, "another principal", is_refused=True)
    assert (refused.state, refused.since) == ("refused", 4.0)
    joined = refused.joined(5.0, was_known=False)
    assert (joined.state, joined.since, joined.failures, joined.problem) == ("joined", 5.0, 0, None)
    assert joined.joined(99.0, was_known=True) is joined
    assert joined.joined(99.0, was_known=False).since == 99.0


def test_an_engine_is_believed_about_places_only_after_a_while() -> None:
    joined = Contact("away", 0.0).joined(10.0, was_known=False)
    assert not joined.is_settled(10.0 + SETTLE_S - 0.1)
    assert joined.is_settled(10.0 + SETTLE_S)
    assert not joined.failed(30.0, "no answer").is_settled(1000.0)
