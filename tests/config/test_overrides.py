import pytest

from appliance.config.load import load
from appliance.config.overrides import variable_path
from appliance.errors import ConfigError

TLS = "gateway: {tls: {certificate: a, key: b}}\n"


def warnings(text: str, variables: dict[str, str], *settings: str) -> list[str]:
    return [str(each) for each in load(None, text=text, environment=variables, settings=settings).warnings]


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("name", ["GATEWAY__TLS", "CONTROL__LISTEN", "CONTROL__HISTORY", "GATEWAY__MAX_CONNECTIONS"])
def test_an_empty_variable_or_setting_counts_as_not_given(name: str, empty: str) -> None:
    key = name.lower().replace("__", ".")
    given = load(None, text=TLS, environment={f"ICWS_{name}": empty}, settings=[f"{key}={empty}"])
    assert given.config == load(None, text=TLS).config
    assert not given.warnings


def test_null_is_null() -> None:
    variables = {"ICWS_CONTROL__LISTEN": "null", "ICWS_CONTROL__HISTORY": "~"}
    control = load(None, text=TLS, environment=variables, settings=["gateway.tls=null"]).config.control
    assert (control.listen, control.history) == ([], None)


@pytest.mark.parametrize(
    ("text", "variables", "settings", "warning"),
    [
        (
            TLS,
            {},
            ["gateway.tls=null"],
            "setting gateway.tls: gateway.tls: is null by this: clients connect without TLS",
        ),
        (TLS, {"ICWS_GATEWAY": "{max_frame: 1KiB}"}, [], "variable ICWS_GATEWAY: gateway.tls: is null by this"),
        ("", {"ICWS_CONTROL__LISTEN": "null"}, [], "variable ICWS_CONTROL__LISTEN: control.listen: is null by this"),
        (
            "",
            {"ICWS_VERIFICATION__QUERIES": "off"},
            [],
            "variable ICWS_VERIFICATION__QUERIES: verification.queries: is off",
        ),
        (
            "",
            {},
            ["verification.envelopes=report"],
            "setting verification.envelopes: verification.envelopes: is report",
        ),
        (
            "",
            {},
            ["verification.certificates=off"],
            "setting verification.certificates: verification.certificates: is of",
        ),
    ],
)
def test_what_a_variable_or_setting_turns_off_is_a_warning(
    text: str, variables: dict[str, str], settings: list[str], warning: str
) -> None:
    (found,) = warnings(f"version: 1\n{text}", variables, *settings)
    assert found.startswith(warning)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("control: {listen: null}\n", {"ICWS_CONTROL__HISTORY": "null"}),
        ("verification: {queries: off}\n", {"ICWS_VERIFICATION__QUERIES": "report"}),
        ("version: 1\n", {"ICWS_GATEWAY__LISTEN": "a:1", "ICWS_GATEWAY__TLS": "null"}),
        (TLS, {"ICWS_GATEWAY__LISTEN": "a:1"}),
    ],
)
def test_what_the_file_has_turned_off_is_none_of_theirs(text: str, variables: dict[str, str]) -> None:
    assert warnings(text, variables) == []


@pytest.mark.parametrize("key", ["listen", "history"])
def test_a_key_without_a_value_is_an_error_where_null_turns_something_off(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^text:2:\d+: control.{key}: has no value; write null to turn it off, or"):
        load(None, text=f"control:\n  {key}:\n")


def test_a_key_without_a_value_has_its_default_where_that_is_null() -> None:
    assert load(None, text="gateway:\n  tls:\ncontrol:\n  tokens:\n").config == load(None, text="version: 1\n").config


def test_a_variable_with_one_underscore_is_a_warning() -> None:
    variables = {
        "ICWS_GATEWAY_LISTEN": "a:1",
        "ICWS_SOCKET": "/a",
        "ICWS_CONFIG": "b",
        "ICWS_PORT": "1",
        "GATEWAY": "c",
    }
    problem = "sets nothing; did you mean ICWS_GATEWAY__LISTEN?"
    assert warnings("version: 1\n", variables) == [f"variable ICWS_GATEWAY_LISTEN: {problem}"]
    assert variable_path("ICWS_GATEWAY__LISTEN") == ("gateway", "listen")


SHARED = "version: 1\nrate_limits:\n  connections_per_ip: {scope: cluster}\n"


def test_a_limit_of_a_cluster_that_is_none_is_a_warning_with_its_place() -> None:
    problem = "is cluster, but no cluster is configured and there is one worker: this node counts alone"
    (found,) = load(None, text=SHARED, name="gateway.yaml").warnings
    assert str(found) == f"gateway.yaml:3:31: rate_limits.connections_per_ip.scope: {problem}"
    canister = "- id: bkyz2-fmaaa-aaaaa-qaaaq-cai\n  rate_limits: {messages_per_client: {scope: cluster}}\n"
    own = f"version: 1\ncanisters:\n{canister}"
    (found,) = load(None, text=own, name="gateway.yaml").warnings
    assert str(found).startswith("gateway.yaml:4:46: canisters[bkyz2-fmaaa-aaaaa-qaaaq-cai].rate_limits.messages_per")


@pytest.mark.parametrize("more", ["cluster: {url: redis://x}", "gateway: {workers: 2}", "gateway: {workers: auto}"])
def test_a_limit_of_a_cluster_is_no_warning_where_there_is_one(more: str) -> None:
    assert warnings(SHARED + more, {}) == []
