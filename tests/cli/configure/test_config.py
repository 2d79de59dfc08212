import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from appliance.cli.configure.explained_key import find_key, known_keys, nearest_key
from appliance.cli.main import main
from appliance.config.load import load
from appliance.config.render.describe import render_yaml
from appliance.config.render.json_schema import json_schema
from appliance.config.text.written import written
from tests.cli.conftest import Icws

SHIPPED = Path(__file__).resolve().parents[3] / "gateway.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["check", *arguments])


def test_the_shipped_file_can_be_used():
    result = check(str(SHIPPED))
    assert result.exit_code == 0
    assert "listens on 0.0.0.0:8080" in result.stdout
    assert "serves no canisters, connects to" in result.stdout


def test_a_summary_names_canisters_and_endpoints(folder: Path):
    (folder / "gateway.yaml").write_text(
        "canisters: [{id: bkyz2-fmaaa-aaaaa-qaaaq-cai, name: chat}, {id: aaaaa-aa}]\nunlisted_canisters: allow\n"
    )
    result = check(ICWS_NETWORK__URL="http://127.0.0.1:4943")
    assert result.exit_code == 0
    assert "serves chat, aaaaa-aa, unlisted canisters, connects to http://127.0.0.1:4943" in result.stdout


def test_every_problem_is_a_line_and_the_exit_code_is_78(folder: Path):
    (folder / "gateway.yaml").write_text("gateway:\n  listn: x\nlog: {level: loud}\n")
    result = check(ICWS_POLLING__TIMEOUT="5")
    assert result.exit_code == 78
    assert result.stdout == ""
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["gateway.yaml:2:3", "gateway.listn"],
        ["gateway.yaml:3:14", "log.level"],
        ["variable ICWS_POLLING__TIMEOUT", "polling.timeout"],
    ]


NO_CANISTER = "no canister is listed and unlisted ones are denied: no client can open a session"


def test_a_program_gets_the_problems_one_by_one(folder: Path):
    (folder / "gateway.yaml").write_text("gateway:\n  listn: x\n")
    result = check("--json")
    assert result.exit_code == 78
    problem = "unknown key; did you mean 'listen'?"
    assert json.loads(result.stdout) == {
        "usable": False,
        "problems": [{"place": "gateway.yaml:2:3", "key": "gateway.listn", "problem": problem}],
    }
    assert json.loads(check(str(SHIPPED), "--json").stdout) == {
        "usable": True,
        "problems": [],
        "warnings": [NO_CANISTER],
    }


def test_a_file_that_is_not_there(folder: Path):
    result = check("absent.yaml")
    assert (result.exit_code, result.stderr) == (78, "absent.yaml: cannot be read: No such file or directory\n")


def test_tls_files_are_tried(folder: Path):
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem, key: k.pem}}\n")
    result = check()
    assert result.exit_code == 78
    problem = f"{folder / 'c.pem'} cannot be read: No such file or directory"
    assert result.stderr == f"gateway.yaml:1:30: gateway.tls.certificate: {problem}\n"


def test_without_its_files_a_configuration_is_checked_by_who_may_not_read_them(folder: Path):
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem, key: k.pem}}\n")
    assert check("--no-files").exit_code == 0
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem}}\n")
    assert check("--no-files").exit_code == 78


TEXT = """\
gateway: {listen: "127.0.0.1:7001"}
polling:
  min_interval: 70ms
canisters:
  - {id: bkyz2-fmaaa-aaaaa-qaaaq-cai, name: chat, generation: [v1, v2]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(TEXT)
    return path


def config(*arguments: object, code: int = 0, **environment: str) -> Result:
    runner = CliRunner(env={"ICWS_CONFIG": None, "COLUMNS": None, **environment})
    result = runner.invoke(main, ["config", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_what_is_shown_is_the_whole_configuration(file: Path):
    shown = config("show", file).stdout
    assert yaml.safe_load(shown)["polling"]["min_interval"] == "70ms"
    again = file.with_name("again.yaml")
    again.write_text(shown)
    assert load(again).config == load(file).config


def test_the_origin_of_every_value(file: Path):
    lines = config("show", file, "--origin", ICWS_LOG__LEVEL="debug").stdout.splitlines()
    origins = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in lines}
    assert origins["min_interval"] == f"{file}:3:17"
    assert origins["level"] == "variable ICWS_LOG__LEVEL"
    assert origins["max_interval"] == "default"
    assert f"{'canisters:':<40}  # {file}:5:3" in lines


def test_only_what_is_not_as_by_default(file: Path):
    shown = config("show", file, "--changed").stdout
    assert shown == (
        "gateway:\n  listen: 127.0.0.1:7001\npolling:\n  min_interval: 70ms\n"
        "canisters:\n  - id: bkyz2-fmaaa-aaaaa-qaaaq-cai\n    name: chat\n    generation: [v1, v2]\n    paused: false\n"
    )
    file.write_text(render_yaml())
    assert config("show", file, "--changed").stdout == "# all values are the defaults\n"


def test_a_program_gets_values_and_origins(file: Path):
    answer = json.loads(config("show", file, "--json").stdout)
    loaded = load(file)
    assert answer == {"values": written(loaded.config), "origins": dict(loaded.origins)}


def test_a_file_that_cannot_be_used_is_78(file: Path):
    file.write_text("polling: {min_interval: 5}\nlog: {levl: info}\n")
    result = config("show", file, code=78)
    assert result.stderr == (
        f"{file}:1:25: polling.min_interval: 5 is not a duration; write a number with a unit: ms, s, m, h or d, "
        f"e.g. 500ms or 1m30s\n{file}:2:7: log.levl: unknown key; did you mean 'level'?\n"
    )


def test_the_running_configuration_is_asked_for_instead_of_a_file(file: Path):
    assert "leave FILE out" in config("show", file, "--running", code=2).stderr


@pytest.mark.parametrize("key", list(known_keys()))
def test_every_key_is_explained(file: Path, key: str):
    text = config("explain", key, "--config", file).stdout
    found = find_key(key)
    assert text.startswith(f"{key}\n")
    words = text.replace("\n", " ").split()
    assert found.key.meaning.replace("`", "").split()[0] in words
    assert [inner.path[-1] for inner in found.inner if f"  {inner.path[-1]}  " not in text] == []
    if found.key.effect:
        assert f"{found.key.effect.name}: {found.key.effect.meaning}" in text


def test_a_key_is_explained_with_its_value_and_where_that_is_from(file: Path):
    assert config("explain", "polling.min_interval", "-c", file).stdout == (
        "polling.min_interval\n  Time between polls while messages arrive.\n\n"
        "  default   50ms\n  allowed   5ms to 1m\n  change    live: a change takes effect at once\n"
        f"  variable  ICWS_POLLING__MIN_INTERVAL\n  now       70ms, from {file}:3:17\n"
    )
    assert "by default" in config("explain", "polling.timeout", "-c", file).stdout
    answer = json.loads(config("explain", "log.level", "-c", file, "--json", ICWS_LOG__LEVEL="error").stdout)
    assert (answer["value"], answer["origin"]) == ("error", "variable ICWS_LOG__LEVEL")


def test_a_key_is_explained_although_the_file_is_broken_or_not_there(file: Path):
    file.write_text("][")
    for path in (file, file.with_name("none.yaml")):
        text = config("explain", "log.level", "-c", path).stdout
        assert "  default   info" in text
        assert "now" not in text.split()


@pytest.mark.parametrize("text", ["canisters[0].name", "canisters[bkyz2-fmaaa.x].name", "canisters.name"])
def test_what_is_in_brackets_does_not_matter(text: str):
    assert find_key(text).name == "canisters.name"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("gateway.listn", "gateway"),
        ("canisters[0].name", "canisters.name"),
        ("odd", ""),
        ("", ""),
        ("log.level", "log.level"),
    ],
)
def test_the_nearest_key_is_the_one_to_read_about(text: str, key: str):
    assert nearest_key(text) == key


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("polling.min_intervall", "there is no key polling.min_intervall; did you mean 'min_interval'?"),
        ("min_interval", "did you mean polling.min_interval"),
        ("gateway.listen.port", "there is no key gateway.listen.port"),
        ("drain_timeout", "did you mean drain.deadline?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_known_ones(key: str, hint: str):
    assert hint in config("explain", key, code=1).stderr


def test_schema_and_default_are_those_of_the_package():
    assert json.loads(config("schema").stdout) == json_schema()
    assert config("default").stdout == render_yaml()


async def test_what_runs_is_shown_with_its_generation(icws: Icws):
    before = icws.plane.reloads.etag
    shown = (await icws("config", "show", "--running")).stdout
    assert shown.startswith(f"# revision  1, etag {before}\n# file      {icws.plane.file}\n")
    again = icws.plane.file.with_name("again.yaml")
    again.write_text(shown)
    assert load(again).config == icws.plane.reloads.config
    icws.plane.file.write_text(icws.plane.file.read_text().replace("name: chat", "name: talk"))
    changed = (await icws("config", "show", "--running", "--changed", "--origin")).stdout
    assert "which differs now" in changed
    assert "name: chat" in changed
    assert f"# {icws.plane.file}:" in changed
    assert "log:" not in changed
    answer = await icws.json("config", "show", "--running")
    assert (answer["etag"], answer["differs_from_file"]) == (before, True)
