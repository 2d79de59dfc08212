"""Laws of ``ic/attempts.py``. Nothing here waits."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import (
    CallExpired,
    CertificateStale,
    CertifiedReject,
    GatewayError,
    IcRefused,
    IcUnreachable,
    Rejected,
    ReplyMalformed,
    UncertifiedReject,
)
from appliance.ic.attempts import Ask, Attempts, Backoff, Pacing, carry
from appliance.ic.envelope import SignedRequest
from appliance.ic.replies import RequestStatus
from tests.ic.scripted_ic import NOW_NS, TestTime

LIFETIME_S = 240
CALL = SignedRequest(b"body", bytes(32), b"\x01", "greet", NOW_NS + LIFETIME_S * 10**9)

REPLIED = RequestStatus("replied", reply=b"reply")
TAKEN = RequestStatus("received")
GONE = IcUnreachable("http://a", "gone")


def asking(*outcomes: RequestStatus | GatewayError, version: int = 4) -> tuple[Ask, list[int]]:
    """An Ask that goes through the outcomes, the last one again and again; and a list that grows with each."""
    asked: list[int] = []

    async def ask() -> tuple[int, RequestStatus]:
        asked.append(version)
        outcome = outcomes[min(len(asked), len(outcomes)) - 1]
        if isinstance(outcome, GatewayError):
            raise outcome
        return version, outcome

    return ask, asked


def pacing(time: TestTime, chance: Callable[[], float] = lambda: 1.0) -> Pacing:
    return Pacing(time.clock, time.sleep, chance)


@given(st.integers(0, 30), st.floats(0, 1))
def test_delays_grow_to_a_limit_and_chance_takes_half_at_most(steps: int, chance: float) -> None:
    backoff = Backoff()
    for _ in range(steps):
        assert backoff.delay_s <= backoff.next.delay_s <= backoff.longest_s
        backoff = backoff.next
    assert backoff.delay_s / 2 <= backoff.seconds(chance) <= backoff.delay_s


@given(st.integers(0, 10**12))
async def test_an_expired_call_does_not_wait_for_another_attempt(late_ns: int) -> None:
    async def sleep(_: float) -> None:
        pytest.fail("it waits")

    expired = Pacing(lambda: CALL.ingress_expiry_ns + late_ns, sleep, lambda: 1.0)
    with pytest.raises(CallExpired):
        await Attempts(CALL, expired).pause(GONE)


async def test_a_reply_needs_no_second_attempt(time: TestTime) -> None:
    post, posted = asking(REPLIED)
    assert await carry(CALL, post, None, pacing(time)) == b"reply"
    assert (len(posted), time.slept) == (1, [])


async def test_what_may_pass_is_tried_again(time: TestTime) -> None:
    post, posted = asking(GONE, UncertifiedReject(2, "busy"), IcRefused("http://a", 403, "no"), REPLIED)
    assert await carry(CALL, post, None, pacing(time)) == b"reply"
    assert (len(posted), time.slept) == (4, [0.5, 0.75, 1.125])


async def test_as_long_as_an_endpoint_asks_for_is_waited(time: TestTime) -> None:
    post, _ = asking(IcUnreachable("http://a", "busy", retry_after_s=30), REPLIED)
    await carry(CALL, post, None, pacing(time))
    assert time.slept == [30]


@pytest.mark.parametrize(
    "reject",
    [
        UncertifiedReject(4, "no"),
        CertifiedReject(2, "busy"),
        UncertifiedReject(1, "fatal"),
        UncertifiedReject(3, "nobody"),
        UncertifiedReject(2, "out of cycles", "IC0207"),
    ],
)
async def test_a_rejection_is_final(time: TestTime, reject: Rejected) -> None:
    certified = isinstance(reject, CertifiedReject)
    post, posted = asking(RequestStatus("rejected", reject=reject) if certified else reject)
    with pytest.raises(Rejected) as rejection:
        await carry(CALL, post, None, pacing(time))
    assert rejection.value is reject
    assert len(posted) == 1


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize(
    "word",
    [UncertifiedReject(4, "no"), UncertifiedReject(2, "poor", "IC0207"), IcRefused("http://a", 413, "large")],
)
async def test_the_word_of_endpoints_is_believed_after_so_many_rounds(
    time: TestTime, word: GatewayError, patience: int
) -> None:
    post, posted = asking(word)
    with pytest.raises(type(word)):
        await carry(CALL, post, None, pacing(time), patience=patience)
    assert len(posted) == patience + 1
    certified, asked = asking(RequestStatus("rejected", reject=CertifiedReject(4, "no")))
    with pytest.raises(CertifiedReject):
        await carry(CALL, certified, None, pacing(time), patience=patience)
    assert len(asked) == 1


async def test_a_call_that_the_ic_does_not_know_is_posted_again(time: TestTime) -> None:
    """An endpoint that only says "accepted" must not keep the call from the others."""
    replied = RequestStatus("replied", reply=b"done")
    post, posted = asking(RequestStatus("received"), replied)
    read_status, read = asking(RequestStatus("absent"), RequestStatus("absent"))
    assert await carry(CALL, post, read_status, pacing(time)) == b"done"
    assert (len(posted), len(read)) == (2, 2)


async def test_a_refusal_that_blames_the_request_is_final(time: TestTime) -> None:
    post, posted = asking(IcRefused("http://a", 400, "Invalid request expiry: too late"))
    with pytest.raises(IcRefused):
        await carry(CALL, post, None, pacing(time))
    assert len(posted) == 1


async def test_attempts_end_with_the_expiry(time: TestTime) -> None:
    post, posted = asking(GONE)
    with pytest.raises(CallExpired, match=r"greet.*does not answer: gone"):
        await carry(CALL, post, None, pacing(time))
    assert sum(time.slept) == pytest.approx(LIFETIME_S)
    assert len(posted) > 50


async def test_nothing_is_sent_that_has_expired(time: TestTime) -> None:
    time.now_ns = CALL.ingress_expiry_ns
    post, posted = asking(REPLIED)
    with pytest.raises(CallExpired):
        await carry(CALL, post, None, pacing(time))
    assert posted == []


@pytest.mark.parametrize(
    "problem", [CertificateStale(2, 1), ReplyMalformed("reply", "no"), IcRefused("http://a", 302, "")]
)
@pytest.mark.parametrize("chance", [0.0, 1.0])
async def test_unusable_answers_are_asked_for_longer_than_a_restart_takes(
    time: TestTime, problem: GatewayError, chance: float
) -> None:
    post, posted = asking(GONE, problem)
    with pytest.raises(type(problem)):
        await carry(CALL, post, None, pacing(time, lambda: chance))
    assert len(posted) == 8
    assert 5 <= sum(time.slept) <= 15


async def test_the_status_of_ones_own_call_is_asked_once_it_is_taken(time: TestTime) -> None:
    post, posted = asking(GONE, TAKEN)
    absent, processing = RequestStatus("absent"), RequestStatus("processing")
    read_status, read = asking(absent, GONE, TAKEN, processing, REPLIED)
    assert await carry(CALL, post, read_status, pacing(time)) == b"reply"
    assert (len(posted), len(read)) == (2, 5)


async def test_the_status_of_ones_own_call_is_asked_on_version_2_too(time: TestTime) -> None:
    post, posted = asking(TAKEN, version=2)
    read_status, read = asking(REPLIED)
    assert await carry(CALL, post, read_status, pacing(time)) == b"reply"
    assert (len(posted), len(read)) == (1, 1)


async def test_a_call_that_stays_unknown_expires(time: TestTime) -> None:
    post, posted = asking(TAKEN)
    read_status, read = asking(RequestStatus("absent"))
    with pytest.raises(CallExpired, match="has not answered yet"):
        await carry(CALL, post, read_status, pacing(time))
    assert abs(2 * len(posted) - len(read)) <= 2, "it is posted again after every second look"


async def test_a_forgotten_outcome_of_ones_own_call_is_an_error(time: TestTime) -> None:
    post, _ = asking(TAKEN)
    read_status, _ = asking(RequestStatus("done"))
    with pytest.raises(CallExpired, match="no longer keeps"):
        await carry(CALL, post, read_status, pacing(time))


async def test_anothers_call_is_posted_again_until_its_outcome_is_there(time: TestTime) -> None:
    post, posted = asking(TAKEN, TAKEN, GONE, REPLIED)
    assert await carry(CALL, post, None, pacing(time)) == b"reply"
    assert len(posted) == 4


async def test_of_anothers_call_version_2_tells_no_more_than_that_it_is_taken(time: TestTime) -> None:
    post, posted = asking(GONE, TAKEN, version=2)
    assert await carry(CALL, post, None, pacing(time)) is None
    assert len(posted) == 2


async def test_a_forgotten_outcome_of_anothers_call_means_it_was_taken(time: TestTime) -> None:
    post, _ = asking(RequestStatus("done"))
    assert await carry(CALL, post, None, pacing(time)) is None
