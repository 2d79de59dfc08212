from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.control.auth import access
from appliance.control.auth.access import (
    AccessControl,
    Actor,
    bearer,
    check_host,
    check_origin,
    require,
    secured,
)
from appliance.control.auth.tokens import ROLES, Grant, Tokens, hash_token
from appliance.control.http.problems import CrossOrigin, RoleTooSmall, Unauthorized, WrongHost
from appliance.gateway.limits.rate_limits import Limits

NAMES = frozenset({"gw.example"})


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8080", "a.localhost:1", "127.0.0.1", "127.0.0.1:8080", "10.1.2.3:80"),
        *("[::1]", "[::1]:8080", "[fe80::1%eth0]:80", "gw.example", "GW.example:8443"),
    ],
)
def test_addresses_and_names_of_ours_are_hosts(host: str) -> None:
    check_host(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "evil.example", "gw.example.evil.example", "evil.example:80", "127.0.0.1.evil.example"),
        *("localhost.evil.example", "notlocalhost", "gw.example@evil.example", ":8080", "[::1", "gw.example:80:80"),
    ],
)
def test_names_that_lead_here_by_the_will_of_others_are_no_hosts(host: str | None) -> None:
    with pytest.raises(WrongHost):
        check_host(host, NAMES)


def headers(**values: str) -> dict[str, str]:
    return {"host": "localhost:81"} | {name.replace("_", "-"): value for name, value in values.items()}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:81"},
        {"origin": "https://LOCALHOST:81"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_programs_and_our_own_page_are_let_in(method: str, sent: dict[str, str]) -> None:
    check_origin(method, headers(**sent))


@pytest.mark.parametrize(
    "sent",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:82"},
        {"origin": "null"},
        {"origin": "localhost:81"},
        {"sec_fetch_site": "same-origin", "origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_pages_of_others_are_not(method: str, sent: dict[str, str]) -> None:
    with pytest.raises(CrossOrigin):
        check_origin(method, headers(**sent))


def test_a_link_from_elsewhere_leads_to_our_page_and_does_nothing_else() -> None:
    link = headers(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document")
    check_origin("GET", link)
    with pytest.raises(CrossOrigin):
        check_origin("POST", link)
    with pytest.raises(CrossOrigin):
        check_origin("GET", link | {"sec-fetch-dest": "iframe"})


@given(st.sampled_from(ROLES), st.sampled_from(ROLES))
def test_a_role_does_what_those_before_it_may(has: Any, needs: Any) -> None:
    actor = Actor("token:ann", has, "10.0.0.1")
    if ROLES.index(has) >= ROLES.index(needs):
        assert require(actor, needs) is actor
    else:
        with pytest.raises(RoleTooSmall, match=f"token:ann is {has}, this needs {needs}"):
            require(actor, needs)


def test_nobody_may_nothing() -> None:
    for role in ROLES:
        with pytest.raises(Unauthorized):
            require(None, role)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "icws_token"])
def test_what_is_no_bearer_token_is_refused(header: str) -> None:
    with pytest.raises(Unauthorized):
        bearer(header)


class Inner:
    def __init__(self) -> None:
        self.actor: object = "not asked"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.actor = scope["icws.actor"]
        await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    file = tmp_path / "tokens"
    file.write_text(f"{Grant('ann', 'operator', hash_token('secret'))}\n")
    return Tokens(file)


async def ask(
    tokens: Tokens, over: Any, *, path: str = "/", limits: Limits | None = None, **sent: str
) -> tuple[object, dict[str, Any]]:
    inner, told = Inner(), []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "client": ("10.0.0.1" if over == "tcp" else "unix:root", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers(**sent).items()],
    }
    exceeded = (limits or Limits(Config())).control_request
    await AccessControl(inner, tokens, over=over, exceeded=exceeded)(scope, None, send)  # type: ignore[arg-type]
    return inner.actor, told[0]


async def test_over_tcp_a_token_says_who_it_is(tokens: Tokens) -> None:
    assert (await ask(tokens, "tcp"))[0] is None
    actor, _ = await ask(tokens, "tcp", authorization="bearer  secret")
    assert actor == Actor("token:ann", "operator", "10.0.0.1")
    actor, told = await ask(tokens, "tcp", authorization="Bearer wrong")
    assert actor == "not asked"
    assert told["status"] == 401
    assert (b"www-authenticate", b'Bearer realm="icws"') in told["headers"]


async def test_over_a_unix_socket_whoever_gets_there_is_an_admin_unless_it_says_otherwise(tokens: Tokens) -> None:
    assert (await ask(tokens, "unix"))[0] == Actor("unix:root", "admin", "unix")
    assert (await ask(tokens, "unix", authorization="Bearer secret"))[0] == Actor("token:ann", "operator", "unix")
    assert (await ask(tokens, "unix", authorization="Bearer wrong"))[1]["status"] == 401


@pytest.mark.parametrize("over", ["unix", "tcp"])
async def test_other_sites_are_kept_out_on_both(tokens: Tokens, over: str) -> None:
    for sent, status in (({"host": "evil.example"}, 421), ({"sec_fetch_site": "cross-site"}, 403)):
        actor, told = await ask(tokens, over, authorization="Bearer secret", **sent)
        assert actor == "not asked"
        assert told["status"] == status
        assert (b"x-frame-options", b"DENY") in told["headers"]


def limits(mode: str) -> Limits:
    limit = {"rate": "1/h", "burst": 2, "mode": mode}
    return Limits(Config.model_validate({"rate_limits": {"control_requests_per_ip": limit}}))


@pytest.mark.parametrize("authorization", [{}, {"authorization": "Bearer wrong"}, {"host": "evil.example"}])
async def test_an_address_sends_so_many_requests_without_a_valid_token(
    tokens: Tokens, authorization: dict[str, str]
) -> None:
    it = limits("enforce")
    for _ in range(2):
        assert (await ask(tokens, "tcp", limits=it, **authorization))[1]["status"] != 429
    actor, told = await ask(tokens, "tcp", limits=it, **authorization)
    assert (actor, told["status"]) == ("not asked", 429)
    assert dict(told["headers"])[b"retry-after"] == b"3600"
    assert (await ask(tokens, "tcp", limits=it, authorization="Bearer secret"))[1]["status"] == 200
    assert it.decisions()["control_requests_per_ip", "limited", "enforce"] == 1


@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_the_limit_of_requests_may_only_count_or_not_even_that(tokens: Tokens, mode: str) -> None:
    it = limits(mode)
    assert [(await ask(tokens, "tcp", limits=it))[1]["status"] for _ in range(4)] == [200] * 4
    assert it.decisions().get(("control_requests_per_ip", "limited", "shadow"), 0) == (2 if mode == "shadow" else 0)


async def test_requests_over_the_unix_socket_have_no_limit(tokens: Tokens) -> None:
    it = limits("enforce")
    assert [(await ask(tokens, "unix", limits=it))[1]["status"] for _ in range(4)] == [200] * 4


async def test_health_checks_above_the_limit_are_answered_later(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, slept = limits("enforce"), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(access.asyncio, "sleep", sleep)
    assert [(await ask(tokens, "tcp", path="/livez", limits=it))[1]["status"] for _ in range(3)] == [200] * 3
    assert slept == [access.HEALTH_DELAY_S]


def test_an_answer_keeps_the_headers_that_it_has() -> None:
    told = secured({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"max-age=60")]})
    names = [name.lower() for name, _ in told["headers"]]
    assert names.count(b"cache-control") == 1
    assert b"content-security-policy" in names
    assert secured({"type": "http.response.body"}) == {"type": "http.response.body"}
