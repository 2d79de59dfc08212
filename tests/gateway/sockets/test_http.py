"""Every rule for the request that opens a WebSocket, without a socket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin, TooLarge
from appliance.gateway.sockets.http import (
    MAX_HEAD,
    NOT_ACCEPTING,
    UNIX,
    HttpRejection,
    RequestHeadReader,
    Route,
    check_upgrade,
    client_address,
    rejection_by_plugin,
    upgrade_request,
)
from tests.gateway.clients import CANISTER

# --- bytes ------------------------------------------------------------------------------------------------------------

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"


@given(st.lists(st.integers(0, len(REQUEST)), max_size=8), st.binary(max_size=20))
def test_a_request_is_whole_when_its_last_byte_came_however_it_was_cut(cuts: list[int], behind: bytes):
    everything = REQUEST + behind
    edges = [0, *sorted(cuts), len(everything)]
    head, fed = RequestHeadReader(), 0
    for start, end in pairwise(edges):
        whole = head.feed(everything[start:end])
        fed = end
        if whole is not None:
            assert fed >= len(REQUEST)
            assert whole == (REQUEST, everything[len(REQUEST) : fed])
            return
        assert fed < len(REQUEST)
    raise AssertionError("it was never whole")


def test_a_request_that_does_not_end_is_too_large():
    head = RequestHeadReader()
    assert head.feed(b"x" * MAX_HEAD) is None
    with pytest.raises(TooLarge, match=f"HTTP request has {MAX_HEAD + 1} bytes, the limit is {MAX_HEAD}"):
        head.feed(b"x")


# --- path, origin, plugins --------------------------------------------------------------------------------------------

DAPP = "https://dapp.example"


def config(*origins: str) -> Config:
    gateway = {"origins": list(origins)} if origins else {}
    return Config.model_validate({"gateway": gateway, "canisters": [{"id": str(CANISTER), "name": "chat"}]})


def verdict(path: str = "/", origin: str | None = None, *origins: str, is_full: bool = False) -> Route | HttpRejection:
    return check_upgrade(path, origin, "v2", config(*origins), is_full=is_full)


def test_a_path_leads_somewhere_or_is_not_found():
    assert verdict() == Route("v2")
    assert verdict("/canister/chat") == Route("v2", CANISTER)
    away = verdict("/nowhere")
    assert isinstance(away, HttpRejection)
    assert away.status == 404


@pytest.mark.parametrize(
    ("origin", "origins", "allowed"),
    [
        (None, (DAPP,), True),  # no browser
        (DAPP, (), True),
        (DAPP, ("*",), True),
        (DAPP, (DAPP,), True),
        ("https://other.example", (DAPP,), False),
        ("null", (DAPP,), False),
        ("*", (DAPP,), False),
    ],
)
def test_pages_of_other_origins_are_turned_away(origin, origins, allowed):
    away = verdict("/", origin, *origins)
    assert isinstance(away, Route) == allowed
    if isinstance(away, HttpRejection):
        assert (away.status, away.text) == (403, f"This gateway does not allow connections from pages of {origin}.\n")


def test_a_full_gateway_turns_away_those_it_would_serve():
    assert verdict(is_full=True) == NOT_ACCEPTING
    assert (NOT_ACCEPTING.status, NOT_ACCEPTING.headers) == (503, {"Retry-After": "5"})
    away = verdict("/nowhere", is_full=True)
    assert isinstance(away, HttpRejection)
    assert away.status == 404


@pytest.mark.parametrize(
    ("refusal", "status", "headers"),
    [
        (RefusedByPlugin("a", "no"), 403, {}),
        (PostponedByPlugin("a", "no", 0.1), 503, {"Retry-After": "1"}),
        (PostponedByPlugin("a", "no", 60), 503, {"Retry-After": "60"}),
        (PluginUnavailable("a"), 503, {}),
    ],
)
def test_what_a_plugin_says_becomes_a_status(refusal, status, headers):
    away = rejection_by_plugin(refusal)
    assert (away.status, away.text, dict(away.headers)) == (status, f"{refusal}\n", headers)


def test_a_visit_has_its_headers_by_lower_case_names():
    visit = upgrade_request("192.0.2.1", "/?a", [("X-A", "1"), ("x-a", "2"), ("B", "3")], Route("v1", CANISTER))
    assert (visit.address, visit.path, visit.generation, visit.canister) == ("192.0.2.1", "/?a", "v1", str(CANISTER))
    assert visit.headers == {"x-a": "2", "b": "3"}
    assert upgrade_request("", "/", [], Route("v1")).canister is None


# --- address ----------------------------------------------------------------------------------------------------------

PROXY = "10.0.0.0/8"
ADDRESSES = st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None).map(str)


@given(ADDRESSES, st.text())
def test_without_trust_the_header_counts_for_nothing(address, header):
    assert client_address((address, 1), header, []) == address
    assert client_address("", header, []) == UNIX


@given(ADDRESSES, ADDRESSES)
def test_a_trusted_proxy_is_believed_about_the_last_address_only(made_up, client):
    if client.startswith("10."):
        return
    assert client_address(("10.1.2.3", 1), f"{made_up}, {client}", [PROXY]) == client
    assert client_address("", f"{made_up}, {client}", ["unix"]) == client


def test_a_chain_of_trusted_proxies_is_followed_to_its_beginning():
    assert client_address(("10.1.2.3", 1), "203.0.113.9, 10.9.9.9", [PROXY]) == "203.0.113.9"
    assert client_address(("10.1.2.3", 1), "10.8.8.8, 10.9.9.9", [PROXY]) == "10.8.8.8"
    assert client_address(("10.1.2.3", 1), None, [PROXY]) == "10.1.2.3"


def test_ports_and_brackets_are_understood_and_nonsense_ends_the_chain():
    assert client_address(("10.1.2.3", 1), "203.0.113.9:4711", [PROXY]) == "203.0.113.9"
    assert client_address(("10.1.2.3", 1), "[2001:db8::1]:443", [PROXY]) == "2001:db8::1"
    assert client_address(("10.1.2.3", 1), "203.0.113.9, unknown", [PROXY]) == "10.1.2.3"
    assert client_address(("fe80::1%eth0", 1, 0, 2), "203.0.113.9", ["fe80::/10"]) == "203.0.113.9"


def test_an_ipv4_address_on_a_socket_for_both_is_one():
    assert client_address(("::ffff:203.0.113.9", 1, 0, 0), None, []) == "203.0.113.9"
    assert client_address(("::ffff:10.1.2.3", 1, 0, 0), "::ffff:203.0.113.9", [PROXY]) == "203.0.113.9"
