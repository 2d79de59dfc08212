"""Typical mistakes of operators: each message names the place, the thing and the way out, and `icws check` finds it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main

ID = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
IN_FILE = [
    ("gatewy: {}", "1:1: gatewy: unknown key; did you mean 'gateway'?"),
    ("gateway: {port: 80}", "1:11: gateway.port: unknown key; known here are listen,"),
    ("gateway: {tokens: a}", "1:11: gateway.tokens: unknown key; did you mean control.tokens?"),
    ("drain_timeout: 5s", "1:1: drain_timeout: unknown key; did you mean drain.deadline?"),
    (
        "gateway:\n  listen: [::]:8080",
        "2:12: gateway.listen: [ has a meaning of its own in YAML; put the value in quotes",
    ),
    (
        "gateway:\n  origins: *",
        'gateway.origins: * has a meaning of its own in YAML; put the value in quotes: "*"',
    ),
    ("gateway:\n  origins: [*.a.example]", 'put the value in quotes: "*.a.example"'),
    ("gateway:\n\tlisten: a:1", "2:1: gateway: a tab stands here; YAML is indented with spaces only, replace it"),
    ("gateway:\n  listen:0.0.0.0:80\nlog: {}", "put a space behind the colon: listen: 0.0.0.0:80"),
    ("gateway:\n listen: a:1\n  generation: v1", "3:13: gateway.listen: this line is indented differently"),
    (
        "plugins:\n- path: a: b",
        'a colon with a space behind it makes a key; put the value in quotes: "a: b"',
    ),
    ("gateway: {listen: 'a:1", "1:19: gateway.listen: a quotation mark is opened here and never closed"),
    ("network: {url: [https://a, https://b}", "1:37: network.url[1]: a comma or ] is missing before this"),
    (
        "log: {level: info}\nlog: {level: debug}",
        "2:1: log: the key is there twice, first at gateway.yaml:1:1; remove one",
    ),
    ("control:\n  listen:", "control.listen: has no value; write null to turn it off, or remove the line"),
    ("gateway: {listen: 8080}", "1:19: gateway.listen: 8080 is not an address; write host:port, e.g. 0.0.0.0:8080"),
    ("gateway: {listen: ':8080'}", "names no host; write e.g. 0.0.0.0:8080 for all addresses"),
    ("gateway: {listen: '::1:80'}", "put an IPv6 address in brackets, e.g. [::1]:8080"),
    ("gateway: {listen: 'http://a:80'}", "is a URL; write host:port, e.g. 0.0.0.0:8080"),
    ("gateway: {listen: 'a:1', listeners: [{address: 'A:01'}]}", "a:1 is taken by gateway.listen; give each a port or"),
    ("control: {listen: '0.0.0.0:8080', tokens: t}", "0.0.0.0:8080 is taken by gateway.listen; give each a port or"),
    ("gateway: {origins: 'https://a'}", "gateway.origins: must be a list, not 'https://a'; write [https://a]"),
    (
        "gateway: {origins: ['https://a/b']}",
        "'https://a/b' is not an origin: it has no path; write https://a",
    ),
    ("gateway: {ping_interval: 25}", "25 is not a duration; write a number with a unit: ms, s, m, h or d"),
    ("gateway: {max_frame: 2 megabytes}", "'2 megabytes' is not a size; write bytes or a number with KiB"),
    ("gateway: {max_frame: 1G}", "1:22: gateway.max_frame: must be at most 16MiB, not '1G'"),
    (
        "gateway: {tls: /etc/tls.pem}",
        "gateway.tls: must be a section with keys of its own (certificate, key), not",
    ),
    ("gateway: {tls: {certificate: a}}", "1:16: gateway.tls.key: is missing, and has no default; write it"),
    ("gateway: {trusted_proxies: ['10.0.0.1/8']}", "write 10.0.0.0/8 for all of it, or 10.0.0.1 for one address"),
    ("gateway: {generation: 2}", "1:23: gateway.generation: must be v0 or v1 or v2, not 2; did you mean v2?"),
    (
        "network: {url: icp-api.io}",
        "'icp-api.io' is not a URL of the IC; write e.g. https://icp-api.io",
    ),
    ("network: {root_key: main}", "mainnet; or the key as 266 hexadecimal digits; or fetch"),
    (f"canisters:\n  id: {ID}", "2:3: canisters: must be a list, not a section; begin each entry with a dash"),
    (f"canisters: [{ID}]", "1:13: canisters[0]: must be a section with keys of its own (id, name,"),
    (f"canisters: [{{id: {ID[:-1]}}}]", "1:18: canisters[0].id: malformed principal"),
    (f"canisters: [{{id: {ID}}}, {{id: {ID}}}]", f"canisters[1].id: canister {ID} is listed twice; remove one"),
    (f"canisters: [{{id: {ID}, name: my chat}}]", "use up to 63 letters, digits, dots, dashes and underscores"),
    ("control: {listen: '0.0.0.0:1'}", "is open to other machines; name a file of tokens in control.tokens"),
    (
        "control: {hosts: ['a.example:80']}",
        "'a.example:80' has a port; write the host name alone: a.example",
    ),
    ("rate_limits: {connections_per_ip: {rate: 20}}", "20 is not a rate; write a number per second, minute or hour"),
    ("polling: {min_interval: 1s}", "min_interval (1s) is above max_interval (100ms); lower one or raise the other"),
    (
        "verification: {certificates: none}",
        "verification.certificates: must be enforce or report or off, not",
    ),
    ("unlisted_canisters: yes", "1:21: unlisted_canisters: must be deny or allow, not 'yes'"),
    ("watch: yes", "1:8: watch: must be true or false, not 'yes'"),
    ("version: 2", "1:10: version: 2 is no version of this format that is known here; write 1"),
    ("- a", "1:1: must have keys such as gateway:, not a list"),
]
IN_VARIABLES = [
    ("ICWS_GATEWAY__LISTN", "a:1", "variable ICWS_GATEWAY__LISTN: gateway.listn: unknown key; did you mean 'listen'?"),
    ("ICWS_GATEWAY__LISTEN", "[::]:80", "variable ICWS_GATEWAY__LISTEN: gateway.listen: [ has a meaning of its own"),
    ("ICWS_CANISTERS", ID, "variable ICWS_CANISTERS: canisters: must be a list, not"),
    (
        "ICWS_POLLING__TIMEOUT",
        "5",
        "variable ICWS_POLLING__TIMEOUT: polling.timeout: 5 is not a duration; write",
    ),
    (
        "ICWS_CONTROL__LISTEN",
        "null",
        "variable ICWS_CONTROL__LISTEN: control.listen: is null by this: there is",
    ),
    ("ICWS_GATEWAY_LISTEN", "a:1", "variable ICWS_GATEWAY_LISTEN: sets nothing; did you mean ICWS_GATEWAY__LISTEN?"),
]
IN_SETTINGS = [
    ("gateway.listen", "setting gateway.listen: write section.key=value"),
    ("gateway.listn=a:1", "setting gateway.listn: gateway.listn: unknown key; did you mean 'listen'?"),
    ("polling=fast", "setting polling: polling: must be a section with keys of its own (min_interval,"),
    ("gateway.listen.port=80", "setting gateway.listen.port: gateway.listen: must be text"),
    ("log.level=loud", "setting log.level: log.level: must be debug or info or warning or error, not 'loud'"),
    ("gateway.tls=null", "setting gateway.tls: gateway.tls: is null by this: clients connect without TLS"),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text("gateway: {tls: {certificate: a, key: b}}\n")
    return file


def icws(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"ICWS_CONFIG": None, **environment}).invoke(main, arguments)


@pytest.mark.parametrize(("text", "message"), IN_FILE)
def test_a_mistake_in_the_file(file: Path, text: str, message: str) -> None:
    file.write_text(f"{text}\n")
    result = icws("check")
    assert result.exit_code == 78
    (line,) = result.stderr.splitlines()
    assert line.startswith("gateway.yaml:")
    assert message in line


@pytest.mark.parametrize(("name", "value", "message"), IN_VARIABLES)
def test_a_mistake_in_a_variable(file: Path, name: str, value: str, message: str) -> None:
    assert message in icws("check", "--no-files", **{name: value}).stderr


@pytest.mark.parametrize(("setting", "message"), IN_SETTINGS)
def test_a_mistake_in_a_setting(file: Path, setting: str, message: str) -> None:
    assert message in icws("check", "--no-files", "--set", setting).stderr
