import gc
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli import main as module
from appliance.cli.main import COMMANDS, main
from appliance.errors import ConfigError, ConfigProblem, IcUnreachable


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch):
    """A command ``run`` that raises what it is told to."""

    def with_error(error: BaseException) -> None:
        @click.command()
        def run() -> None:
            raise error

        monkeypatch.setattr(module, "import_module", lambda name: type("Module", (), {"run": run}))

    return with_error


def test_help_names_every_command_and_what_it_does():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, sentence in COMMANDS.items():
        assert name in result.output
        assert sentence in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: icws {name}") or f" {name} " in result.output.splitlines()[0]


@pytest.mark.parametrize("raises", [None, ImportError])
@pytest.mark.parametrize("wanted", [True, False])
def test_garbage_is_looked_for_again_after_an_import(monkeypatch: pytest.MonkeyPatch, raises, wanted: bool):
    seen = []

    def imported(name: str):
        seen.append(gc.isenabled())
        if raises is not None:
            raise raises
        return type("Module", (), {"run": click.Command("run", callback=lambda: None)})

    monkeypatch.setattr(module, "import_module", imported)
    (gc.enable if wanted else gc.disable)()
    try:
        result = CliRunner().invoke(main, ["run"])
        assert gc.isenabled() == wanted
    finally:
        gc.enable()
    assert seen == [False]
    assert type(result.exception) is type(None if raises is None else raises())


def test_the_version():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("icws, version ")


@pytest.mark.parametrize("arguments", [["bogus"], ["check", "--bogus"], ["check", "a", "b"], ["demo", "--port", "x"]])
def test_wrong_usage_is_2(arguments: list[str]):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (
            ConfigError([ConfigProblem("g.yaml:1:2", "log", "is odd"), ConfigProblem("x", "", "too")]),
            78,
            "g.yaml:1:2: log: is odd\nx: too\n",
        ),
        (IcUnreachable("http://a", "no route"), 1, "Error: http://a does not answer: no route\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (PermissionError(13, "Permission denied", "/x"), 1, "Error: /x: Permission denied\n"),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(fails, error: BaseException, code: int, sentence: str):
    fails(error)
    result = CliRunner().invoke(main, ["run"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, sentence, "")


def test_help_loads_nothing_heavy():
    script = "import sys; from appliance.cli.main import main; main(['--help'], standalone_mode=False); " + (
        "print([m for m in ('asyncio', 'aiohttp', 'pydantic', 'yaml', 'appliance._native') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert output.splitlines()[-1] == "[]"


def test_python_m_is_the_same():
    top = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "appliance.cli", "--version"]
    output = subprocess.run(command, cwd=top, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert output.startswith("icws, ")
