"""The head of a request, byte by byte and part by part, without a socket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Malformed, TooLarge
from appliance.gateway.sockets.request_head import (
    MAX_HEAD,
    MAX_LINES,
    RequestHead,
    RequestHeadReader,
    parse_request,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"

# --- bytes ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, len(REQUEST)), max_size=8), st.binary(max_size=20), st.sampled_from([b"", b"\r\n\n"]))
def test_a_head_is_whole_when_its_last_byte_came_however_it_was_cut(cuts: list[int], behind: bytes, before: bytes):
    everything = before + REQUEST + behind
    edges = [0, *sorted(cuts), len(everything)]
    head, fed = RequestHeadReader(), 0
    for start, end in pairwise(edges):
        whole = head.feed(everything[start:end])
        fed = end
        if whole is not None:
            assert fed >= len(before + REQUEST)
            assert whole == (REQUEST, everything[len(before + REQUEST) : fed])
            return
        assert fed < len(before + REQUEST)
    raise AssertionError("it was never whole")


def test_a_head_that_does_not_end_is_too_large():
    head = RequestHeadReader()
    assert head.feed(b"x" * MAX_HEAD) is None
    with pytest.raises(TooLarge, match=f"HTTP request has {MAX_HEAD + 1} bytes, the limit is {MAX_HEAD}"):
        head.feed(b"x")


@pytest.mark.parametrize("size", [MAX_HEAD, MAX_HEAD + 1])
def test_a_head_is_too_large_too_if_it_ends_in_the_same_read(size: int):
    head, behind = REQUEST.removesuffix(b"\r\n") + b"X: ", b"frames" * 20_000
    whole = head + b"x" * (size - len(head) - 4) + b"\r\n\r\n"
    if size == MAX_HEAD:
        assert RequestHeadReader().feed(whole + behind) == (whole, behind)
    else:
        with pytest.raises(TooLarge, match=f"{MAX_HEAD + 1} bytes, the limit is {MAX_HEAD}"):
            RequestHeadReader().feed(whole + behind)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a header of the PROXY protocol"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11", "a header of the PROXY protocol"),
        (b"\x16\x03\x01\x02\x00\x01", "it is a TLS handshake"),
    ],
)
def test_another_protocol_is_named_at_once(data: bytes, problem: str):
    with pytest.raises(Malformed, match=problem):
        RequestHeadReader().feed(data)


# --- parts ------------------------------------------------------------------------------------------------------------

TOKENS = st.text("abcXYZ09-_!#$%&'*+.^`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
TAKEN = {"host", "origin"}


@given(TOKENS, st.text("/?ab%~", max_size=9), st.lists(st.tuples(TOKENS, VALUES), max_size=6))
def test_what_is_valid_is_read_as_it_was_written(method: str, path: str, headers: list[tuple[str, str]]):
    lines = [f"{method} /{path} HTTP/1.1", "host: a", *(f"{name}: {value}" for name, value in headers), "", ""]
    if TAKEN & {name.lower() for name, _ in headers}:
        return
    request = parse_request("\r\n".join(lines).encode("iso-8859-1"))
    expected = (("host", "a"), *((name.lower(), value.strip(" \t")) for name, value in headers))
    assert request == RequestHead(method, f"/{path}", (1, 1), expected)


@given(st.binary(max_size=200) | st.text("GET /HTP1.:\r\n \tab\x00", max_size=80).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes):
    try:
        whole = RequestHeadReader().feed(data)
        if whole is not None:
            parse_request(whole[0])
    except Malformed:
        pass


def head(*lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("iso-8859-1")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (head(first="GET / HTTP/1.1"), "it has no Host header"),
        (head("Host: a", "Host: a"), "it has 2 Host headers"),
        (head("Host: a b"), "'a b' is not a host"),
        (head("Host: a", "Origin: https://a", "Origin: https://a"), "it has 2 Origin headers"),
        (head("Host: a", "X: 1", " folded"), "folded over two lines"),
        (head("Host : a"), "'Host : a' is not a header"),
        (head("Host: a", "no colon"), "'no colon' is not a header"),
        (head("Host: a", ": value"), "': value' is not a header"),
        (head("Host: a", "X: a\x00b"), "header X has a control character"),
        (head("Host: a", "X: a\rb"), "header X has a control character"),
        (head("Host: a", "X: a\nb"), "its lines must end in CRLF"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "its lines must end in CRLF"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", "its lines must end in CRLF"),
        (head(first="GET /"), "it begins with 'GET /' and not with"),
        (head(first="GET  / HTTP/1.1"), "it begins with"),
        (head(first="GET / HTTP/1.1 "), "it begins with"),
        (head(first="GET / http/1.1"), "it begins with"),
        (head(first="GET /\x7f HTTP/1.1"), "it begins with"),
        (head(first="GET /\xe4 HTTP/1.1"), "it begins with"),
        (head(first="G@T / HTTP/1.1"), "it begins with"),
        (head("Host: a", first="GET /#part HTTP/1.1"), "'/#part' is not a path"),
        (head("Host: a", first="OPTIONS * HTTP/1.1"), r"'\*' is not a path"),
        (head("Host: a", first="CONNECT a:80 HTTP/1.1"), "'a:80' is not a path"),
    ],
)
def test_what_is_malformed_is_named(data: bytes, problem: str):
    with pytest.raises(Malformed, match=problem):
        parse_request(data)


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://a/b?c", "/b?c"), ("ws://a", "/"), ("WSS://a:1?c", "/?c"), ("/http://a", "/http://a")],
)
def test_the_absolute_form_is_read_as_its_path(target: str, path: str):
    assert parse_request(head("Host: other", first=f"GET {target} HTTP/1.1")).path == path


@pytest.mark.parametrize("host", ["a", "a:80", "[::1]:80", "", "EXAMPLE.com."])
def test_a_host_may_be_any_authority(host: str):
    assert parse_request(head(f"Host: {host}")).get("host") == host


def test_http_1_0_needs_no_host():
    assert parse_request(head(first="GET / HTTP/1.0")).version == (1, 0)


def test_a_header_may_be_as_long_as_the_head_and_lines_are_bounded():
    assert len(parse_request(head("Host: a", f"Cookie: {'c' * 60_000}")).get("cookie") or "") == 60_000
    assert parse_request(head("Host: a", *["X: 1"] * (MAX_LINES - 1))).joined("x").count("1") == MAX_LINES - 1
    with pytest.raises(TooLarge, match=f"HTTP request has {MAX_LINES + 1} header lines, the limit is {MAX_LINES}"):
        parse_request(head("Host: a", *["X: 1"] * MAX_LINES))
