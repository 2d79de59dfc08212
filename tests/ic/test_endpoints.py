"""Laws of ``ic/endpoints.py``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import IcUnreachable, Malformed
from appliance.ic.endpoints import LONGEST_REST_NS, LONGEST_RETRY_AFTER_S, Endpoints, is_mainnet, normalise_url

A, B, C = "http://a:1", "http://b:1", "http://c:1"
SECOND = 10**9


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTPS://ICP-API.io:443/", "https://icp-api.io"),
        ("https://icp0.io", "https://icp0.io"),
        ("http://127.0.0.1:4943//", "http://127.0.0.1:4943"),
        ("http://LocalHost:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        (" https://ic.example./base/ ", "https://ic.example/base"),
    ],
)
def test_one_address_has_one_spelling(written: str, meant: str) -> None:
    assert normalise_url(written) == meant
    assert normalise_url(meant) == meant


@pytest.mark.parametrize(
    "url",
    ["", "icp-api.io", "ftp://icp-api.io", "http://", "http://h:x", "http://h:99999", "https://u:p@h", "http://h?q=1",
     "http://h/#f", "http://..", "http://[::1", "unix:/run/x"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(Malformed, match="URL"):
        normalise_url(url)


def test_a_refused_address_does_not_show_its_password() -> None:
    with pytest.raises(Malformed) as refusal:
        normalise_url("https://user:hunter2@host")
    assert "hunter2" not in str(refusal.value)


def test_the_mainnet_is_known_however_it_is_spelt() -> None:
    assert all(map(is_mainnet, ["https://icp-api.io", "HTTPS://IC0.APP:443/", "https://abc.raw.icp0.io."]))
    assert not any(map(is_mainnet, ["http://127.0.0.1:4943", "https://icp-api.io.evil.example", "https://noticp0.io"]))


@given(st.text(max_size=60))
def test_normalising_is_idempotent_or_refuses(text: str) -> None:
    try:
        url = normalise_url(text)
    except Malformed:
        return
    assert normalise_url(url) == url


def urls(endpoints: Endpoints, now_ns: int, after: str | None = None) -> list[str]:
    return [endpoint.url for endpoint in endpoints.order(now_ns, after=after)]


def test_the_healthy_ones_are_asked_as_configured() -> None:
    endpoints = Endpoints([B, A, B + "/", C])
    assert urls(endpoints, 0) == [B, A, C]
    endpoints.all[0].failed("it burns", 0)
    assert urls(endpoints, 0) == [A, C]
    assert urls(endpoints, SECOND) == [B, A, C]


def test_where_all_rest_the_one_that_is_back_first_is_asked() -> None:
    endpoints = Endpoints([A, B])
    endpoints.all[0].failed("it burns", 5)
    endpoints.all[1].failed("it burns", 3)
    assert urls(endpoints, 6) == [B]


def test_success_ends_the_rest() -> None:
    endpoints = Endpoints([A, B])
    endpoints.all[0].failed("it burns", 0)
    endpoints.all[0].succeeded()
    assert urls(endpoints, 0) == [A, B]


@given(st.integers(1, 40))
def test_rests_double_up_to_a_limit(failures: int) -> None:
    endpoint = Endpoints([A]).all[0]
    now_ns, rests = 0, []
    for _ in range(failures):
        endpoint.failed("it burns", now_ns)
        rests.append(endpoint.rests_for_s(now_ns))
        now_ns += int(rests[-1] * 1e9)
    assert rests == [min(2.0**i, LONGEST_REST_NS / 1e9) for i in range(failures)]


def test_failing_together_counts_once() -> None:
    endpoint = Endpoints([A]).all[0]
    for _ in range(50):
        endpoint.failed("it burns", 0)
    assert (endpoint.failures, endpoint.rests_for_s(0)) == (1, 1.0)


def test_the_one_behind_the_last_is_asked_first_and_the_last_one_last() -> None:
    endpoints = Endpoints([A, B, C])
    assert [urls(endpoints, 0, after=last) for last in (A, B, C)] == [[B, C, A], [C, A, B], [A, B, C]]
    assert urls(endpoints, 0, after="https://gone.example") == [A, B, C]
    endpoints.all[1].failed("it burns", 0)
    assert urls(endpoints, 0, after=A) == [C, A]
    assert urls(Endpoints([A]), 0, after=A) == [A]


def test_who_asks_to_be_left_alone_is_left_alone_while_another_is_healthy() -> None:
    endpoints = Endpoints([A, B])
    endpoints.all[0].failed("busy", 0, retry_after_s=20)
    assert urls(endpoints, 19 * SECOND) == [B]
    assert urls(endpoints, 20 * SECOND) == [A, B]
    endpoints.all[0].failed("busy", 20 * SECOND, retry_after_s=float("inf"))
    assert urls(endpoints, 79 * SECOND) == [B]
    assert urls(endpoints, 80 * SECOND) == [A, B]


def test_nobody_is_left_alone_for_more_than_seconds_where_there_is_no_other() -> None:
    endpoints = Endpoints([A, B])
    endpoints.all[0].failed("busy", 0, retry_after_s=float("inf"))
    endpoints.all[1].failed("busy", 0, retry_after_s=4)
    with pytest.raises(IcUnreachable) as refusal:
        urls(endpoints, 1 * SECOND)
    assert (refusal.value.retry_after_s, endpoints.pause_s(1 * SECOND)) == (3.0, 3.0)
    assert urls(endpoints, 4 * SECOND) == [B]
    endpoints.all[1].failed("dead", 4 * SECOND)
    assert urls(endpoints, 4 * SECOND) == [B]
    assert endpoints.all[1].rests_for_s(5 * SECOND) > 0
    assert urls(endpoints, 5 * SECOND) == [A]


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 10**12), st.integers(0, 20)), max_size=20))
def test_no_answer_stops_everything_for_long(failures: list[tuple[str, float, int]]) -> None:
    """Whatever endpoints ask for, somebody is asked again within seconds."""
    endpoints = Endpoints([A, B])
    now_ns = 0
    for url, retry_after_s, then_s in failures:
        next(each for each in endpoints.all if each.url == url).failed("busy", now_ns, retry_after_s)
        assert endpoints.pause_s(now_ns) <= 5
        now_ns += then_s * SECOND
        if pause_s := endpoints.pause_s(now_ns):
            now_ns += int(pause_s * SECOND)
        assert urls(endpoints, now_ns + 1)


def test_at_least_one_endpoint_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Endpoints([])


def test_endpoints_that_are_known_keep_their_health():
    old = Endpoints(["https://one.example", "https://two.example"])
    old.all[0].failed("down", 0)
    new = Endpoints(["https://three.example", "https://ONE.example/"], known=old.all)
    assert [endpoint.url for endpoint in new.all] == ["https://three.example", "https://one.example"]
    assert new.all[1] is old.all[0]


def test_one_that_is_left_alone_for_another_node_has_not_failed() -> None:
    endpoints = Endpoints(["http://a", "http://b"])
    endpoints.all[0].leave_alone(9, 0)
    assert [each.url for each in endpoints.order(0)] == ["http://b"]
    assert (endpoints.all[0].failures, endpoints.all[0].rests_for_s(0)) == (0, 0.0)
    assert [each.url for each in endpoints.order(9 * SECOND)] == ["http://a", "http://b"]
    endpoints.all[0].leave_alone(float("inf"), 0)
    assert endpoints.all[0].closed_for_s(0) == LONGEST_RETRY_AFTER_S
