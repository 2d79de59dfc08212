"""Laws of ``ic/failover.py``: whose word counts, who is asked next, and whose health suffers."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import (
    CertificateStale,
    GatewayError,
    IcError,
    IcRefused,
    IcUnreachable,
    ReplyMalformed,
    ReplyTooLarge,
    UncertifiedReject,
    WrongMethod,
)
from appliance.ic.endpoints import Endpoint
from appliance.ic.failover import first_answer
from appliance.ic.http.transport import HttpTransport
from tests.ic.scripted_ic import TestTime

TransportFor = Callable[..., HttpTransport]
A, B, C = "http://a", "http://b", "http://c"
GONE = IcUnreachable("a", "gone")
BAD_REQUEST = IcRefused("a", 400, "Invalid request expiry")
FORBIDDEN = IcRefused("a", 403, "no")
OUT_OF_CYCLES = UncertifiedReject(2, "out of cycles", "IC0207")
PROBLEMS = [
    GONE,
    BAD_REQUEST,
    FORBIDDEN,
    OUT_OF_CYCLES,
    IcRefused("a", 200, "it answers text/html"),
    IcRefused("a", 302, "elsewhere"),
    ReplyMalformed("reply", "no CBOR"),
    ReplyTooLarge("reply", 2, 1),
    CertificateStale(2, 1),
]


class Attempt:
    """Answers or raises by endpoint, and notes who was asked."""

    def __init__(self, **outcomes: Exception | str) -> None:
        self.outcomes = outcomes
        self.asked: list[str] = []

    async def __call__(self, endpoint: Endpoint) -> str:
        name = endpoint.url.removeprefix("http://")
        self.asked.append(name)
        outcome = self.outcomes[name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def failing(transport: HttpTransport) -> list[str]:
    return [endpoint.url for endpoint in transport.endpoints if endpoint.failures]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda error: f"{error.reason} {getattr(error, 'status', '')}")
async def test_one_endpoint_is_no_verdict_and_rests_if_another_answers(
    transport_for: TransportFor, problem: Exception
) -> None:
    transport = transport_for(A, B, C)
    attempt = Attempt(a=problem, b="answer", c="never asked")
    assert await first_answer(transport, attempt) == "answer"
    assert attempt.asked == ["a", "b"]
    assert failing(transport) == [A]
    assert [endpoint.url for endpoint in transport.order()] == [B, C]


@given(st.lists(st.sampled_from(PROBLEMS), min_size=1, max_size=4))
async def test_where_nobody_answers_it_is_an_error_of_the_ic_that_was_seen(problems: list[GatewayError]) -> None:
    names = "abcd"[: len(problems)]
    transport = HttpTransport([f"http://{name}" for name in names], timeout_s=1, max_reply=1, monotonic_ns=lambda: 0)
    attempt = Attempt(**dict(zip(names, problems, strict=True)))
    with pytest.raises(IcError) as failure:
        await first_answer(transport, attempt)
    assert failure.value in problems
    assert 4000 <= failure.value.close_code < 4500
    rejects = [name for name, problem in zip(names, problems, strict=True) if problem is OUT_OF_CYCLES]
    assert attempt.asked == list(names[: names.index(rejects[1]) + 1] if len(rejects) > 1 else names)


async def test_who_blames_the_request_is_believed_where_nobody_answers_it(transport_for: TransportFor) -> None:
    """A client that signs badly must not make honest endpoints rest."""
    transport = transport_for(A, B, C)
    attempt = Attempt(a=BAD_REQUEST, b=GONE, c=BAD_REQUEST)
    with pytest.raises(IcRefused, match="Invalid request expiry"):
        await first_answer(transport, attempt)
    assert attempt.asked == ["a", "b", "c"]
    assert failing(transport) == [B]


async def test_those_that_rest_are_asked_before_the_request_is_at_fault(transport_for: TransportFor) -> None:
    transport = transport_for(A, B)
    transport.failed(transport.endpoints[1], GONE)
    attempt = Attempt(a=BAD_REQUEST, b="answer")
    assert await first_answer(transport, attempt) == "answer"
    assert failing(transport) == [A]


async def test_those_that_rest_are_left_alone_where_another_is_just_down(transport_for: TransportFor) -> None:
    transport = transport_for(A, B)
    transport.failed(transport.endpoints[1], GONE)
    with pytest.raises(IcUnreachable):
        await first_answer(transport, Attempt(a=GONE))


async def test_two_endpoints_are_asked_about_an_uncertified_rejection(transport_for: TransportFor) -> None:
    transport = transport_for(A, B, C)
    attempt = Attempt(a=OUT_OF_CYCLES, b=OUT_OF_CYCLES, c="never asked")
    with pytest.raises(UncertifiedReject, match=r"IC0207\), uncertified: out of cycles"):
        await first_answer(transport, attempt)
    assert attempt.asked == ["a", "b"]
    assert failing(transport) == []


async def test_the_words_of_the_canister_come_before_a_refusal(transport_for: TransportFor) -> None:
    with pytest.raises(UncertifiedReject):
        await first_answer(transport_for(A, B), Attempt(a=OUT_OF_CYCLES, b=BAD_REQUEST))


async def test_what_is_no_fault_of_an_endpoint_is_raised_at_once(transport_for: TransportFor) -> None:
    transport = transport_for(A, B)
    attempt = Attempt(a=WrongMethod("m", "n"))
    with pytest.raises(WrongMethod):
        await first_answer(transport, attempt)
    assert failing(transport) == []


async def test_a_pause_of_one_endpoint_is_none_for_the_others(transport_for: TransportFor) -> None:
    """Whoever tries again waits only where nobody may be asked."""
    transport = transport_for(A, B)
    busy = IcUnreachable("b", "HTTP 503", retry_after_s=99_999_999_999.0)
    with pytest.raises(IcUnreachable) as failure:
        await first_answer(transport, Attempt(a=ReplyMalformed("reply", "no CBOR"), b=busy))
    assert failure.value.retry_after_s is None
    assert [endpoint.url for endpoint in transport.order()] == [A]


async def test_a_pause_of_the_only_endpoint_is_bounded(transport_for: TransportFor, time: TestTime) -> None:
    transport = transport_for(A)
    busy = IcUnreachable("a", "HTTP 503", retry_after_s=99_999_999_999.0)
    with pytest.raises(IcUnreachable) as failure:
        await first_answer(transport, Attempt(a=busy))
    assert failure.value.retry_after_s == 5.0
    await time.sleep(5)
    assert await first_answer(transport, Attempt(a="answer")) == "answer"


async def test_health_is_told_once_each_way(
    transport_for: TransportFor, time: TestTime, caplog: pytest.LogCaptureFixture
) -> None:
    transport = transport_for(A)
    with caplog.at_level(logging.INFO, "appliance.ic.http.transport"):
        for _ in range(2):
            with pytest.raises(ReplyMalformed):
                await first_answer(transport, Attempt(a=ReplyMalformed("reply", "no CBOR")))
            await time.sleep(60)
        await first_answer(transport, Attempt(a="answer"))
        await first_answer(transport, Attempt(a="answer"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert failing(transport) == []
