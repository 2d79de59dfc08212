"""Every rule for the request that opens a WebSocket, without a socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin
from appliance.gateway.sockets.http import (
    FULL,
    HANDSHAKE,
    MAX_HANDSHAKE_HEADER,
    NO_UPGRADE,
    NOT_ACCEPTING,
    UNIX,
    HttpRejection,
    Route,
    check_handshake,
    check_upgrade,
    client_address,
    handshake_of,
    rejection_by_plugin,
    upgrade_request,
)
from appliance.gateway.sockets.refusals import REASONS
from appliance.gateway.sockets.request_head import MAX_LINES, RequestHead, parse_request
from tests.gateway.clients import CANISTER

# --- path, origin, plugins --------------------------------------------------------------------------------------------

DAPP = "https://dapp.example"


def config(*origins: str) -> Config:
    gateway = {"origins": list(origins)} if origins else {}
    return Config.model_validate({"gateway": gateway, "canisters": [{"id": str(CANISTER), "name": "chat"}]})


HANDSHAKE_HEADERS = {
    "host": "gateway",
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def upgrade(path: str = "/", method: str = "GET", version: tuple[int, int] = (1, 1), **headers: str) -> RequestHead:
    """A request for a WebSocket; a header that is empty is left out."""
    names = HANDSHAKE_HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(method, path, version, tuple((name, value) for name, value in names.items() if value))


def verdict(
    path: str = "/", origin: str | None = None, *origins: str, not_accepting: HttpRejection | None = None
) -> Route | HttpRejection:
    request = upgrade(path, origin=origin or "")
    return check_upgrade(request, "v2", config(*origins), not_accepting=not_accepting)


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
    for away in (FULL, NOT_ACCEPTING):
        assert verdict(not_accepting=away) == away
        assert (away.status, away.headers) == (503, {"Retry-After": "5"})
    away = verdict("/nowhere", not_accepting=FULL)
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


def test_of_a_header_that_comes_twice_a_plugin_sees_the_last():
    request = RequestHead("GET", "/?a", (1, 1), (("x-a", "1"), ("x-a", "2"), ("b", "3")))
    visit = upgrade_request("192.0.2.1", request, Route("v1", CANISTER))
    assert (visit.address, visit.path, visit.generation, visit.canister) == ("192.0.2.1", "/?a", "v1", str(CANISTER))
    assert visit.headers == {"x-a": "2", "b": "3"}
    assert upgrade_request("", request, Route("v1")).canister is None


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (upgrade(), None, None),
        (upgrade(connection="upgrade"), None, None),
        (upgrade(upgrade="WebSocket"), None, None),
        (upgrade(version=(1, 2)), None, None),
        (upgrade(content_length="0"), None, None),
        (upgrade(method="HEAD"), 405, "method"),
        (upgrade(method="POST", content_length="3"), 405, "method"),
        (upgrade(version=(1, 0)), 426, "no_upgrade"),
        (upgrade(connection=""), 426, "no_upgrade"),
        (upgrade(connection="keep-alive"), 426, "no_upgrade"),
        (upgrade(upgrade=""), 426, "no_upgrade"),
        (upgrade(upgrade="h2c"), 426, "no_upgrade"),
        (upgrade(sec_websocket_version="8"), 426, "no_upgrade"),
        (upgrade(content_length="3"), 400, "malformed"),
        (upgrade(transfer_encoding="chunked"), 400, "malformed"),
        (upgrade(sec_websocket_protocol="a" * (MAX_HANDSHAKE_HEADER + 1)), 431, "too_large"),
    ],
)
def test_what_a_handshake_needs(request_: RequestHead, status: int | None, reason: str | None):
    away = check_handshake(request_)
    assert (away and away.status, away and away.reason) == (status, reason)
    assert away is None or (away.text.endswith("\n") and away.reason in REASONS)


def test_who_sends_no_upgrade_learns_what_to_do_with_a_proxy():
    assert NO_UPGRADE.headers["Upgrade"] == "websocket"
    assert "proxy" in NO_UPGRADE.text
    wrong = check_handshake(upgrade(sec_websocket_version="8"))
    assert wrong is not None
    assert wrong.headers["Sec-WebSocket-Version"] == "13"


def test_another_major_version_of_http_is_not_spoken():
    away = check_upgrade(upgrade(version=(2, 0)), "v2", config(), not_accepting=None)
    assert isinstance(away, HttpRejection)
    assert (away.status, away.reason) == (505, "http_version")


def test_the_library_gets_the_handshake_and_nothing_else():
    request = RequestHead("GET", "/x", (1, 1), tuple((name, "v") for name in (*HANDSHAKE, "cookie", *HANDSHAKE)))
    kept = parse_request(handshake_of(request).replace(b"1.1", b"1.0"))  # without Host
    assert kept.headers == tuple((name, "v, v") for name in HANDSHAKE)
    assert len(HANDSHAKE) <= MAX_LINES


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
