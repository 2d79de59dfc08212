from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.address import (
    TcpAddress,
    UnixAddress,
    check_network,
    check_origin,
    check_url,
    parse_address,
)


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
        ("http://localhost:1", "in brackets"),
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


@pytest.mark.parametrize("url", ["https://icp-api.io", "http://127.0.0.1:4943/", "http://[::1]:80/api"])
def test_urls_of_endpoints(url: str) -> None:
    assert check_url(url) == url


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


@pytest.mark.parametrize("origin", ["app.example", "https://App.example", "https://a/", "https://*.a", "https://", ""])
def test_what_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        check_origin(origin)


@pytest.mark.parametrize(
    ("text", "network"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("FE80::/10", "fe80::/10"), ("unix", "unix")],
)
def test_networks_are_written_as_everybody_writes_them(text: str, network: str) -> None:
    assert check_network(text) == network == check_network(network)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "10.0.0"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        check_network(text)
