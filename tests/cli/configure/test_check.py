import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main

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
    assert "serves none and no others" in result.stdout


def test_a_summary_names_canisters_and_endpoints(folder: Path):
    (folder / "gateway.yaml").write_text(
        "canisters: [{id: bkyz2-fmaaa-aaaaa-qaaaq-cai, name: chat}, {id: aaaaa-aa}]\nunlisted_canisters: allow\n"
    )
    result = check(ICWS_NETWORK__URL="http://127.0.0.1:4943")
    assert result.exit_code == 0
    assert "serves chat, aaaaa-aa and others too, asks http://127.0.0.1:4943" in result.stdout


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


def test_a_program_gets_the_problems_one_by_one(folder: Path):
    (folder / "gateway.yaml").write_text("gateway:\n  listn: x\n")
    result = check("--json")
    assert result.exit_code == 78
    problem = "unknown key; did you mean 'listen'?"
    assert json.loads(result.stdout) == {
        "usable": False,
        "problems": [{"place": "gateway.yaml:2:3", "key": "gateway.listn", "problem": problem}],
    }
    assert json.loads(check(str(SHIPPED), "--json").stdout) == {"usable": True, "problems": []}


def test_a_file_that_is_not_there(folder: Path):
    result = check("absent.yaml")
    assert (result.exit_code, result.stderr) == (78, "absent.yaml: cannot be read: No such file or directory\n")


def test_tls_files_are_tried(folder: Path):
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem, key: k.pem}}\n")
    result = check()
    assert result.exit_code == 78
    assert result.stderr.startswith(f"{folder / 'c.pem'}: gateway.tls: ")


def test_without_its_files_a_configuration_is_checked_by_who_may_not_read_them(folder: Path):
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem, key: k.pem}}\n")
    assert check("--no-files").exit_code == 0
    (folder / "gateway.yaml").write_text("gateway: {tls: {certificate: c.pem}}\n")
    assert check("--no-files").exit_code == 78
