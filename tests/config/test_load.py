import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.files import Content
from appliance.config.load import Loaded, load
from appliance.config.overrides import variable_path
from appliance.config.problems import effect_of, field_at, keys_of
from appliance.config.render.describe import render_yaml
from appliance.config.schema import CanisterLimits, CanisterPolling, Cluster, Config
from appliance.errors import ConfigError, ConfigProblem
from appliance.ic.principal import Principal

SHIPPED = Path(__file__).resolve().parents[2] / "gateway.yaml"
CHAT = "bkyz2-fmaaa-aaaaa-qaaaq-cai"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str, environment: Mapping[str, str] | None = None, settings: Sequence[str] = ()) -> Loaded:
    file = Path("g.yaml")
    file.write_text(text)
    return load(file, environment=environment, settings=settings)


def problems(text: str, environment: Mapping[str, str] | None = None, settings: Sequence[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, environment, settings)
    return [str(problem) for problem in caught.value.problems]


def told(file: Path) -> list[ConfigProblem]:
    try:
        load(file)
    except ConfigError as error:
        return error.problems
    return []


def test_the_shipped_file_says_the_defaults() -> None:
    here = SHIPPED.parent
    assert load(SHIPPED).config == Config.model_validate(
        {
            "gateway": {"identity": here / "data" / "identity.pem"},
            "control": {"listen": f"unix:{here}/data/control.sock", "history": here / "data" / "history"},
        }
    )


def test_the_shipped_file_names_every_key() -> None:
    text = SHIPPED.read_text()
    for path in keys_of(Config):
        assert re.search(rf"[ {{]{path[-1]}: |^ *{path[-1]}:", text, re.MULTILINE), path


def test_the_shipped_file_is_made_from_the_schema() -> None:
    assert SHIPPED.read_text() == render_yaml(), "make docs"


def test_the_commented_examples_of_the_shipped_file_are_right(folder: Path) -> None:
    text = SHIPPED.read_text()
    text = re.sub(r"^( *)((?:tls|cluster): null|(?:canisters|listeners|plugins): \[\])\n", "", text, flags=re.MULTILINE)
    text = re.sub(
        r"^( *)# ( *(?:- )?(?:[a-z_]+: .*|tls:|canisters:|cluster:|listeners:|plugins:))$",
        r"\1\2",
        text,
        flags=re.MULTILINE,
    )
    config = read(text).config
    assert config.gateway.tls is not None
    assert config.cluster == Cluster(url="redis://redis.internal:6379")
    assert [more.address for more in config.gateway.listeners] == ["0.0.0.0:8081"]
    assert [str(canister.id) for canister in config.canisters] == [CHAT]
    assert config.canisters[0].polling == CanisterPolling()
    assert config.canisters[0].rate_limits == CanisterLimits()
    assert [plugin.label for plugin in config.plugins] == ["audit_log"]


def test_every_error_is_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = f"""\
gateway:
  listn: 0.0.0.0:1
  ping_interval: 25
  max_frame: 5MiB
  max_frame: 1
  outbox: 1KiB
  max_connections: '5'
  tls: {{certificate: a}}
listen: x
network: {{url: [ftp://x], root_key: abc}}
verification: {{certificates: enforced}}
canisters:
  - {{id: {CHAT}, name: a}}
  - {{id: aaaaa-ab}}
  - {{id: aaaaa-aa, polling: {{min_interval: 2s}}}}
  - name: no
polling: {{min_interval: 5s}}
log:
"""
    expected = [
        "g.yaml:2:3: gateway.listn: unknown key; did you mean 'listen'?",
        "g.yaml:3:18: gateway.ping_interval: 25 is not a duration",
        "g.yaml:5:3: gateway.max_frame: the key is there twice, first at g.yaml:4:3",
        "g.yaml:6:11: gateway.outbox: must be at least 64KiB, not '1KiB'",
        "g.yaml:7:20: gateway.max_connections: must be a whole number, not '5'",
        "g.yaml:8:8: gateway.tls.key: is missing",
        "g.yaml:9:1: listen: unknown key; did you mean gateway.listen or control.listen or metrics.listen?",
        "g.yaml:10:17: network.url[0]: 'ftp://x' is not a URL",
        "g.yaml:10:37: network.root_key: 'abc' is not possible here: ",
        "g.yaml:11:30: verification.certificates: must be enforce or report or off, not 'enforced'; did you mean",
        "g.yaml:14:10: canisters[1].id: malformed principal",
        "g.yaml:15:29: canisters[2].polling: min_interval (2s) is above max_interval (100ms)",
        "g.yaml:16:5: canisters[3].id: is missing",
        "g.yaml:17:10: polling: min_interval (5s) is above max_interval (100ms)",
        "g.yaml:18:5: log: has no value",
    ]
    found = problems(text)
    assert len(found) == len(expected)
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 2\n", "g.yaml:1:10: version: 2 is no version"),
        ("version: true\n", "g.yaml:1:10: version: True is no version"),
        ("verification: off\n", "g.yaml:1:15: verification: must be a section with keys of its own (certificates,"),
        ("canisters: {id: x}\n", "g.yaml:1:12: canisters: must be a list, not a section"),
        ("gateway: {listen: 8080}\n", "g.yaml:1:19: gateway.listen: 8080 is not an address; write host:port"),
        ("gateway: {listen: '8080'}\n", "g.yaml:1:19: gateway.listen: '8080' is not an address"),
        ("gateway: {identity: 5}\n", "g.yaml:1:21: gateway.identity: must be a path, not 5"),
        ("gateway: {max_connections: yes}\n", "g.yaml:1:28: gateway.max_connections: must be a whole number"),
        ("gateway: {max_connections: 0}\n", "g.yaml:1:28: gateway.max_connections: must be at least 1, not 0"),
        ("polling: {timeout: 100h}\n", "g.yaml:1:20: polling.timeout: must be at most 1m, not '100h'"),
        ("network: {url: []}\n", "g.yaml:1:16: network.url: must have at least 1 entries"),
        (
            "gateway: {drain_timeout: 1s}\n",
            "g.yaml:1:11: gateway.drain_timeout: unknown key; did you mean drain.deadline?",
        ),
        ("gateway: {origins: [https://a/b]}\n", "g.yaml:1:21: gateway.origins[0]: 'https://a/b' is not an origin"),
        ("gateway: {trusted_proxies: [10.0.0.1/8]}\n", "g.yaml:1:29: gateway.trusted_proxies[0]: '10.0.0.1/8' is not"),
        (
            "gateway: {listeners: [{address: 'a:1'}, {address: 'a:1'}]}\n",
            "g.yaml:1:51: gateway.listeners[1].address: the",
        ),
        ("drain: {rate: 100}\n", "g.yaml:1:15: drain.rate: 100 is not a rate"),
        ("drain: {rate: 0/s}\n", "g.yaml:1:15: drain.rate: must be at least 1/s, not '0/s'"),
        (
            "rate_limits: {connections_per_ip: {mode: on}}\n",
            "g.yaml:1:42: rate_limits.connections_per_ip.mode: must be",
        ),
        ("control: {listen: '[::]:9000'}\n", "g.yaml:1:19: control.listen: [::]:9000 is open to other machines"),
        (
            "control: {tokens: t, listen: ['unix:a', 'unix:a']}\n",
            "g.yaml:1:41: control.listen[1]: the address unix:a is listed twice",
        ),
        ("control: {mode: 8}\n", "g.yaml:1:17: control.mode: '8' is not possible here: Permissions"),
        ("control: {mode: 0660}\n", "g.yaml:1:17: control.mode: 0660 is octal in YAML 1.1"),
        ("plugins: [{name: a}]\n", "g.yaml:1:11: plugins[0]: needs either path or module"),
        ("plugins: [{path: x/a.py}, {module: x.a}]\n", "g.yaml:1:27: plugins[1]: a plugin a is listed twice"),
        ("<<: 5\n", "g.yaml:1:1: <<: unknown key"),
        ("a string\n", "g.yaml:1:1: must have keys such as gateway:"),
        (f"canisters: [{{id: {CHAT}}}, {{id: {CHAT}}}]\n", "g.yaml:1:53: canisters[1].id: canister bkyz2"),
        (
            f"canisters: [{{id: aaaaa-aa, name: {CHAT}}}, {{id: {CHAT}}}]\n",
            "g.yaml:1:69: canisters[1].id: canister bkyz2",
        ),
    ],
)
def test_one_fault_is_one_sentence(folder: Path, text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^absent\.yaml: cannot be read: No such file"):
        load(Path("absent.yaml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(folder)


def test_the_command_line_wins_over_the_environment_over_the_file(folder: Path) -> None:
    text = "log: {level: error, format: json}\npolling: {timeout: 1s}\n"
    environment = {"ICWS_LOG__LEVEL": "debug", "ICWS_LOG__FORMAT": "text", "ICWS_NETWORK__URL": "http://127.0.0.1:1"}
    loaded = read(text, environment, ["log.level=warning"])
    assert (loaded.config.log.level, loaded.config.log.format) == ("warning", "text")
    assert loaded.config.network.url == ["http://127.0.0.1:1"]
    assert loaded.origins["log.level"] == "setting log.level"
    assert loaded.origins["log.format"] == "variable ICWS_LOG__FORMAT"
    assert loaded.origins["polling.timeout"] == "g.yaml:2:20"
    assert loaded.origins["polling.min_interval"] == "default"


def test_every_key_has_an_origin(folder: Path) -> None:
    origins = load(None).origins
    wholes = {"canisters", "cluster", "gateway.tls", "gateway.listeners", "plugins"}
    expected = {".".join(path) for path in keys_of(Config) if not {".".join(path[:end]) for end in (1, 2)} & wholes}
    sections = {".".join(path) for path in keys_of(Config) if effect_of(field_at(path)) is None}
    assert set(origins) == expected - sections | wholes
    assert set(origins.values()) == {"default"}


def test_values_of_the_environment_are_yaml(folder: Path) -> None:
    environment = {"ICWS_CANISTERS": f"[{{id: {CHAT}, name: chat}}]", "ICWS_GATEWAY__MAX_CONNECTIONS": "7"}
    config = read("version: 1\n", environment).config
    assert config.canisters[0].id == Principal.from_text(CHAT)
    assert config.gateway.max_connections == 7


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ICWS_GATEWAY__LISTN", "x:1", "gateway.listn: unknown key; did you mean 'listen'?"),
        ("ICWS_GATWAY__LISTEN", "x:1", "gatway: unknown key; did you mean 'gateway'?"),
        ("ICWS_GATEWAY__MAX_CONNECTIONS", "many", "gateway.max_connections: must be a whole number, not 'many'"),
        ("ICWS_GATEWAY__MAX_CONNECTIONS", "null", "gateway.max_connections: has no value"),
        ("ICWS_GATEWAY__MAX_CONNECTIONS", "010", "gateway.max_connections: 010 is octal"),
        ("ICWS_NETWORK__URL", "[a", "network.url: a comma or ] is missing"),
        ("ICWS_CANISTERS__0__ID", CHAT, "canisters: must be a list, not a section"),
        ("ICWS_LOG__LEVEL__X", "1", "log.level.x: cannot be set, log.level has no keys"),
    ],
)
def test_errors_of_the_environment_name_the_variable(folder: Path, name: str, value: str, problem: str) -> None:
    (found,) = problems("log: {level: info}\n", {name: value})
    assert found.startswith(f"variable {name}: {problem}")


@pytest.mark.parametrize("name", ["PATH", "ICWS_PORT", "ICWS_VERSION", "ICWS_CONFIG", "ICWS_SERVICE_HOST", "ICWS_"])
def test_variables_of_others_are_left_alone(name: str) -> None:
    assert variable_path(name) == ()


def test_errors_of_the_file_come_before_those_of_the_environment(folder: Path) -> None:
    found = problems("log: 5\n", {"ICWS_POLLING__TIMEOUT": "x"}, ["gateway.outbox=1", "nonsense"])
    assert [problem.split(": ")[0] for problem in found] == [
        "g.yaml:1:6",
        "variable ICWS_POLLING__TIMEOUT",
        "setting nonsense",
        "setting gateway.outbox",
    ]


def test_relative_paths_count_from_the_file_or_the_working_directory(folder: Path) -> None:
    (folder / "etc").mkdir()
    file = folder / "etc" / "g.yaml"
    file.write_text("gateway: {tls: {certificate: a.pem, key: /k.pem}}\n")
    gateway = load(Path("etc/g.yaml"), environment={"ICWS_GATEWAY__TLS__KEY": "b.pem"}).config.gateway
    assert gateway.tls is not None
    assert gateway.tls.certificate == folder / "etc" / "a.pem"
    assert gateway.tls.key == folder / "b.pem"
    assert gateway.identity == folder / "etc" / "data" / "identity.pem"
    assert load(None).config.control.listen == [f"unix:{folder}/data/control.sock"]
    file.write_text(
        "gateway: {listeners: [{address: 'unix:a.sock'}]}\ncontrol: {listen: null}\nplugins: [{path: a.py}]\n"
    )
    config = load(file, environment={"ICWS_GATEWAY__LISTEN": "unix:b.sock"}).config
    assert config.gateway.listeners[0].address == f"unix:{folder}/etc/a.sock"
    assert config.gateway.listen == f"unix:{folder}/b.sock"
    assert config.plugins[0].path == folder / "etc" / "a.py"
    assert config.control.listen == []
    nested = load(None, settings=["gateway.tls={certificate: c.pem, key: /k.pem}"]).config.gateway
    assert nested.tls is not None
    assert nested.tls.certificate == folder / "c.pem"


@pytest.mark.parametrize("source", ["credential:key", "env:KEY"])
def test_a_key_that_is_passed_is_no_path_wherever_it_is_written(source: str) -> None:
    text = f"gateway: {{identity: '{source}'}}\n"
    written = (
        load(None, text=text),
        load(None, environment={"ICWS_GATEWAY__IDENTITY": source}),
        load(None, settings=[f"gateway.identity={source}"]),
    )
    assert [str(loaded.config.gateway.identity) for loaded in written] == [source] * 3


_LINES = [
    (number, line) for number, line in enumerate(SHIPPED.read_text().splitlines(), 1) if re.match(r" *[a-z_]+:", line)
]
_JUNK = st.one_of(
    st.text("abz09:{}[]-#'\"&*!|>%@` ,.", max_size=12),
    st.sampled_from(
        ["null", "true", "-1", "0", "1e9", "5s", "010", "[]", "{}", "enforce", "mainnet", "~", "9" * 40, "é"]
    ),
)


@given(st.sampled_from(_LINES), _JUNK, st.booleans())
def test_a_corrupted_line_is_accepted_or_an_error_that_names_line_and_key(
    tmp_path_factory: pytest.TempPathFactory, numbered: tuple[int, str], junk: str, of_key: bool
) -> None:
    number, line = numbered
    match = re.match(r"( *)([a-z_]+):( *)(.*)", line)
    assert match is not None
    indent, key, space, value = match.groups()
    lines = SHIPPED.read_text().splitlines()
    lines[number - 1] = f"{indent}{junk}:{space}{value}" if of_key else f"{indent}{key}: {junk}"
    file = tmp_path_factory.getbasetemp() / "corrupted.yaml"
    file.write_text("\n".join(lines) + "\n")
    found = told(file)
    assert all(re.match(r".*corrupted\.yaml:\d+:\d+$", problem.place) for problem in found)
    assert of_key or all(problem.key or number == _LINES[0][0] for problem in found)
    # an open quote or bracket is noticed where the next thing does not fit
    assert not found or any(int(problem.place.split(":")[-2]) >= number for problem in found)


@given(st.integers(0, len(SHIPPED.read_bytes()) - 1))
def test_a_file_cut_off_within_a_line_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    data = SHIPPED.read_bytes()[:length]
    last = data.rpartition(b"\n")[2]
    file = tmp_path_factory.getbasetemp() / "cut.yaml"
    file.write_bytes(data)
    whole = not last.strip() or b"#" in last or last.rstrip().endswith((b"]", b"null"))
    assert whole or told(file)


def test_text_is_read_as_if_it_were_in_the_file(folder: Path) -> None:
    (folder / "etc").mkdir()
    text = "gateway: {identity: key.pem}\nlog: {level: info}\n"
    loaded = load(Path("etc/absent.yaml"), text=text, name="the request", settings=["log.level=error"])
    assert loaded.config.gateway.identity == folder / "etc" / "key.pem"
    assert loaded.origins["gateway.identity"] == "the request:1:21"
    assert loaded.origins["log.level"] == "setting log.level"
    assert loaded.text == text


def test_every_key_of_a_list_has_its_place_by_what_it_is(folder: Path) -> None:
    text = f"""\
canisters:
  - {{id: aaaaa-aa}}
  - id: {CHAT}
    generation: [v1, v2]
plugins: [{{path: a.py, config: {{x: [1]}}}}]
gateway: {{listeners: [{{address: '[::1]:1', generation: v1}}]}}
"""
    loaded = read(text)
    assert loaded.place_of(f"canisters[{CHAT}].id") == "g.yaml:3:9"
    assert loaded.place_of(f"canisters[{CHAT}].generation") == "g.yaml:4:17"
    assert loaded.place_of(f"canisters[{CHAT}].polling.timeout") == "g.yaml:3:5"
    assert loaded.place_of("canisters[never-heard-of].id") == "g.yaml:2:3"
    assert loaded.place_of("plugins[a].config.x") == "g.yaml:5:32"
    assert loaded.place_of("gateway.listeners[[::1]:1].generation") == "g.yaml:6:56"
    assert loaded.place_of("gateway.tls.key") == "g.yaml:6:10"
    assert loaded.place_of("nonsense") == "g.yaml:1:1"
    assert load(None).place_of("gateway.tls") == "default"


def test_what_is_in_the_files_that_are_named_is_known(folder: Path) -> None:
    for name in ("a.pem", "tokens", "audit.py"):
        (folder / name).write_text(name)
    text = """\
gateway: {tls: {certificate: a.pem, key: absent.pem}, identity: a.pem}
control: {tokens: tokens, history: tokens}
plugins: [{path: audit.py}, {module: x.y}]
"""
    contents = read(text).contents
    # of those that a reload reads: tokens are read at each use, the history at the start
    assert set(contents) == {"gateway.identity", "gateway.tls.certificate", "plugins[audit].path"}
    assert contents["plugins[audit].path"] == Content(folder / "audit.py", hashlib.sha256(b"audit.py").hexdigest())
