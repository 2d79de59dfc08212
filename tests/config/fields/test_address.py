from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.address import (
    TcpAddress,
    UnixAddress,
    check_address,
    check_host_name,
    check_network,
    check_origin,
    check_url,
    overlap,
    parse_address,
)
from appliance.ic.endpoints import normalise_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", TcpAddress("0.0.0.0", 8080)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:65535", TcpAddress("::1", 65535)),
        ("unix:/run/icws/gateway.sock", UnixAddress(Path("/run/icws/gateway.sock"))),
        ("unix:gateway.sock", UnixAddress(Path("gateway.sock"))),
    ],
)
def test_an_address_is_read_and_written(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("8080", "host:port"),
        (":8080", "names no host"),
        ("localhost", "host:port"),
        ("localhost:", "no port"),
        ("localhost:65536", "no port"),
        ("localhost:+1", "no port"),
        ("localhost:٣", "no port"),
        ("::1:8080", "in brackets"),
        ("[]:8080", "names no host"),
        ("unix:", "names no socket"),
        ("unix:/", "names no socket"),
        ("http://localhost:1", "is a URL"),
        ("a/b:1", "names no host"),
        ("", "host:port"),
    ],
)
def test_what_is_no_address_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_address(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://icp-api.io", "https://icp-api.io"),
        ("HTTPS://ICP-API.io:443/", "https://icp-api.io"),
        ("http://127.0.0.1:4943/", "http://127.0.0.1:4943"),
        ("http://[::0:1]:80/api/", "http://[::1]/api"),
    ],
)
def test_urls_of_endpoints_have_one_spelling(text: str, url: str) -> None:
    assert check_url(text) == check_url(url) == url == normalise_url(url)


@pytest.mark.parametrize(
    "url",
    ["icp-api.io", "ftp://x", "https://", "http://a:0", "http://a:99999", "http://u@a", "http://a?b", "http://a#b"],
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"may have|is not a URL"):
        check_url(url)


@pytest.mark.parametrize("origin", ["*", "null", "https://app.example", "http://127.0.0.1:5173", "http://[::1]"])
def test_origins(origin: str) -> None:
    assert check_origin(origin) == origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example:443", "https://app.example"),
        ("https://App.Example/", "https://app.example"),
        ("http://a:80", "http://a"),
        ("http://a:443", "http://a:443"),
        ("HTTP://[::0:1]:05173", "http://[::1]:5173"),
        ("ionic://localhost", "ionic://localhost"),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(text: str, origin: str) -> None:
    assert check_origin(text) == check_origin(origin) == origin


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        ("app.example", "write scheme://host"),
        ("https://*.a", "no wildcards"),
        ("https://", "write scheme://host"),
        ("", "write scheme://host"),
        ("https://a/login", "write https://a$"),
        ("https://b\u00fccher.example", "xn--"),
        ("https://u@a", "write scheme://host"),
        ("https://a:99999", "Port out of range"),
    ],
)
def test_what_no_browser_sends_is_refused(origin: str, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"is not an origin.*{advice}"):
        check_origin(origin)


@pytest.mark.parametrize(("text", "name"), [("ICWS.Example", "icws.example"), ("a.example.", "a.example"), ("a", "a")])
def test_host_names_have_one_spelling(text: str, name: str) -> None:
    assert check_host_name(text) == check_host_name(name) == name


@pytest.mark.parametrize(
    ("text", "advice"),
    [("a.example:443", "alone: a.example"), ("https://a", "is a URL"), ("a b", "is not a host name"), ("", "is not a")],
)
def test_what_is_no_host_name_is_refused(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        check_host_name(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("LOCALHOST:08080", "localhost:8080"),
        ("[0:0:0:0:0:0:0:0]:80", "[::]:80"),
        ("unix:/run//icws/./a.sock", "unix:/run/icws/a.sock"),
    ],
)
def test_addresses_have_one_spelling(text: str, address: str) -> None:
    assert check_address(text) == check_address(address) == address


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("0.0.0.0:80", "127.0.0.1:80", False),
        ("0.0.0.0:80", "[::]:80", True),
        ("[::]:80", "[::1]:80", False),
        ("a:80", "a:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", True),
        ("127.0.0.1:80", "127.0.0.2:80", True),
        ("127.0.0.1:80", "unix:/a", True),
        ("unix:/a", "unix:/a", False),
    ],
)
def test_one_process_cannot_listen_at_addresses_that_overlap(one: str, other: str, both: bool) -> None:
    assert overlap(parse_address(one), parse_address(other)) != both
    assert overlap(parse_address(other), parse_address(one)) != both


@pytest.mark.parametrize(
    ("text", "network"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("FE80::/10", "fe80::/10"), ("unix", "unix")],
)
def test_networks_are_written_as_everybody_writes_them(text: str, network: str) -> None:
    assert check_network(text) == network == check_network(network)


def test_an_address_within_a_network_may_mean_both() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8 for all of it, or 10\.0\.0\.1 for one address"):
        check_network("10.0.0.1/8")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "10.0.0"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        check_network(text)
