import pytest

from appliance.config.schema import Config
from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin
from appliance.gateway.sockets.routes import Route
from appliance.gateway.sockets.http import FULL, TurnedAway, judge, turned_away_by, visit_of
from tests.gateway.clients import CANISTER

DAPP = "https://dapp.example"


def config(*origins: str) -> Config:
    gateway = {"origins": list(origins)} if origins else {}
    return Config.model_validate({"gateway": gateway, "canisters": [{"id": str(CANISTER), "name": "chat"}]})


def verdict(path: str = "/", origin: str | None = None, *origins: str, is_full: bool = False) -> Route | TurnedAway:
    return judge(path, origin, "v2", config(*origins), is_full=is_full)


def test_a_path_leads_somewhere_or_is_not_found():
    assert verdict() == Route("v2")
    assert verdict("/canister/chat") == Route("v2", CANISTER)
    away = verdict("/nowhere")
    assert isinstance(away, TurnedAway)
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
    if isinstance(away, TurnedAway):
        assert (away.status, away.text) == (403, f"This gateway does not serve pages of {origin}.\n")


def test_a_full_gateway_turns_away_those_it_would_serve():
    assert verdict(is_full=True) == FULL
    assert (FULL.status, FULL.headers) == (503, {"Retry-After": "5"})
    away = verdict("/nowhere", is_full=True)
    assert isinstance(away, TurnedAway)
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
    away = turned_away_by(refusal)
    assert (away.status, away.text, dict(away.headers)) == (status, f"{refusal}\n", headers)


def test_a_visit_has_its_headers_by_lower_case_names():
    visit = visit_of("192.0.2.1", "/?a", [("X-A", "1"), ("x-a", "2"), ("B", "3")], Route("v1", CANISTER))
    assert (visit.address, visit.path, visit.generation, visit.canister) == ("192.0.2.1", "/?a", "v1", str(CANISTER))
    assert visit.headers == {"x-a": "2", "b": "3"}
    assert visit_of("", "/", [], Route("v1")).canister is None
