"""Completion, as the scripts of the shells ask for it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli.main import COMMANDS, main
from appliance.cli.remote.arguments import complete_canister
from tests.cli.conftest import Icws
from tests.needs import program

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("shell", "mark"),
    [
        ("bash", "complete -o nosort -F _icws_completion icws"),
        ("zsh", "#compdef icws"),
        ("fish", "complete --no-files"),
    ],
)
def test_each_shell_has_its_script(shell: str, mark: str):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert mark in result.stdout
    assert "_ICWS_COMPLETE" in result.stdout
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_takes_its_script(shell: str, tmp_path: Path):
    path = program(shell)
    script = tmp_path / "script"
    script.write_text(CliRunner().invoke(main, ["completion", shell]).stdout)
    subprocess.run([path, "-n", str(script)], check=True)  # noqa: S603


def request(words: str) -> dict[str, str]:
    """The variables with which bash asks for the last of these words."""
    return {"_ICWS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}


def values(output: str) -> list[str]:
    return [line.split(",", 1)[1] for line in output.splitlines() if line]


def proposed(words: str, **environment: str) -> list[str]:
    """What bash is given for the last of these words."""
    runner = CliRunner(env={**request(words), **environment})
    result = runner.invoke(main, [], prog_name="icws", complete_var="_ICWS_COMPLETE")
    assert result.exit_code == 0, result.output
    return values(result.stdout)


def test_the_installed_program_is_what_the_shell_asks():
    environment = os.environ | request("icws canisters p")
    result = subprocess.run([BIN / "icws"], env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    assert values(result.stdout) == proposed("icws canisters p") == ["pause"]


def test_commands_and_options_are_proposed():
    assert proposed("icws re") == ["reload"]
    assert set(COMMANDS) <= set(proposed("icws "))
    assert proposed("icws canisters p") == ["pause"]
    assert "--confirm-within" in proposed("icws reload --")
    assert proposed("icws log d") == ["debug"]
    assert proposed("icws sessions --generation v") == ["v0", "v1", "v2"]


def test_keys_of_the_configuration_are_proposed():
    keys = ["polling.min_interval", "polling.max_interval", "polling.max_backoff", "polling.max_silence"]
    assert proposed("icws config explain polling.m") == keys


def test_names_of_commands_come_without_importing_any():
    script = (
        "import os, sys; from appliance.cli.main import main\n"
        "try: main(prog_name='icws', complete_var='_ICWS_COMPLETE')\n"
        "except SystemExit: print([m for m in ('asyncio', 'aiohttp', 'pydantic', 'yaml') if m in sys.modules])"
    )
    environment = os.environ | request("icws ")
    output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    assert output.stdout.splitlines()[-1] == "[]"


async def test_what_a_running_gateway_has_is_proposed(icws: Icws):
    async with icws.plane.connect():
        (peer,) = icws.plane.gateway.connections
        environment = {"ICWS_CONFIG": str(icws.plane.file)}

        async def ask(words: str) -> list[str]:
            return await asyncio.to_thread(proposed, words, **environment)

        assert await ask("icws canisters pause ") == ["chat"]
        assert await ask(f"icws explain {peer.id[:4]}") == [peer.id]
        assert await ask("icws rollback ") == ["1"]
        assert await ask("icws close --canister c") == ["chat"]


def test_nothing_is_proposed_where_nobody_answers(tmp_path: Path):
    with click.Context(main) as context:
        assert complete_canister(context, click.Argument(["x"]), "") == []
    assert proposed("icws explain ", ICWS_SOCKET=str(tmp_path / "none")) == []
