"""Laws of ``ic/http/responses.py``."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import IcRefused, IcUnreachable
from appliance.ic.http.responses import Reply, read_response, read_retry_after

URL = "http://a"
NOW_S = 1_700_000_000.0


def read(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_response(URL, status, named, body, clock=lambda: NOW_S)


@given(st.integers(100, 999), st.binary(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_there_are_two_answers_and_nothing_but_ic_errors(status: int, body: bytes, kind: str, wait: str) -> None:
    try:
        outcome: object = read(status, body, Content_Type=kind, Retry_After=wait)
    except (IcUnreachable, IcRefused) as error:
        outcome = error
    match outcome:
        case IcUnreachable():
            assert status >= 500 or status in {408, 425, 429}
        case IcRefused():
            assert outcome.status == status
        case _:
            assert status in {200, 202}
            assert outcome == Reply(status, body)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_try_again_codes_are_unreachable(status: int) -> None:
    with pytest.raises(IcUnreachable, match=f"HTTP {status}: overloaded") as failure:
        read(status, b"overloaded")
    assert (failure.value.endpoint, failure.value.retry_after_s) == (URL, None)


@pytest.mark.parametrize("status", [201, 204, 206, 300, 301, 304, *range(400, 408), *range(409, 419)])
def test_other_codes_are_refusals(status: int) -> None:
    with pytest.raises(IcRefused) as refusal:
        read(status, b"no, because")
    assert (refusal.value.status, refusal.value.text) == (status, "no, because")
    assert refusal.value.blames_request == (status in {400, 413})


def test_a_redirect_says_where_to() -> None:
    with pytest.raises(IcRefused, match=r"elsewhere\.example"):
        read(308, Location="https://elsewhere.example")


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", " text/html"])
def test_a_web_page_is_not_taken_for_the_ic(kind: str) -> None:
    with pytest.raises(IcRefused, match="it answers text/html") as refusal:
        read(200, b"<html>", Content_Type=kind)
    assert not refusal.value.blames_request


def test_an_empty_202_is_a_reply_of_whatever_type() -> None:
    assert read(202, Content_Type="text/plain") == Reply(202, b"")


def test_an_error_page_is_cut() -> None:
    with pytest.raises(IcRefused) as refusal:
        read(400, ("é" * 5000).encode())
    assert refusal.value.text == "é" * 500


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 5000, float("inf")),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:27", 7.0),
        ("Tue, 14 Nov 2023 22:13:27 -0000", 7.0),
        ("Tue, 14 Nov 2023 23:13:27 +0100", 7.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("\u00b2", None),
        ("Tue, 14 Nov 2023 22:13:27 +999999999999999", None),
        ("Tue, 14 Nov 2023 22:13:27 +9999", None),
        ("Tue, 99999999999 Nov 2023 22:13:27 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 251_702_387_139.0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, now_s=NOW_S) == seconds


@given(st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30)), st.integers(0, 2**34))
def test_a_date_is_a_wait_from_now_on(date: datetime, now_s: int) -> None:
    date = date.replace(microsecond=0, tzinfo=UTC)
    wait = read_retry_after(format_datetime(date, usegmt=True), now_s=now_s)
    assert wait == max(0.0, date.timestamp() - now_s)


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    wait = read_retry_after(text, now_s=NOW_S)
    assert wait is None or wait >= 0
