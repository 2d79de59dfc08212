"""How the gateway is found, and how its problems are told."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import COMMANDS, main
from appliance.cli.remote import api_options as module
from appliance.cli.remote.api_options import RemoteCommand, api_address, client, remote_group, request, wants_json
from appliance.control.models import AddTokenRequest, CloseRequest, SessionFilter
from tests.cli.conftest import Icws
from tests.control.plane import SECRETS


@remote_group
@click.pass_context
def outer(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(f"{api_address().url} {wants_json()}")


@outer.command()
def inner() -> None:
    click.echo(f"{api_address().url} {api_address().source} {wants_json()}")


def invoke(*arguments: str, **environment: str | None) -> Result:
    runner = CliRunner(env={name: environment.get(name) for name in ("ICWS_SOCKET", "ICWS_URL", "ICWS_CONFIG")})
    return runner.invoke(outer, arguments)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without any configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "INSTALLED", tmp_path / "installed.yaml")
    return tmp_path


def test_options_may_stand_before_a_subcommand_or_behind_it(elsewhere: Path):
    expected = f"unix:{elsewhere}/a.sock --socket True\n"
    for arguments in (["--socket", "a.sock", "--json", "inner"], ["inner", "--socket", "a.sock", "--json"]):
        assert invoke(*arguments).stdout == expected
    assert invoke("--socket", "a.sock", "inner", "--socket", "b.sock").stdout.startswith(f"unix:{elsewhere}/b.sock")
    assert invoke("--json").stdout == f"unix:{elsewhere}/data/control.sock True\n"


def test_what_is_typed_goes_over_variables_and_these_over_the_file(elsewhere: Path):
    (elsewhere / "gateway.yaml").write_text("control: {listen: unix:/file.sock}\n")
    (elsewhere / "other.yaml").write_text("control: {listen: '127.0.0.1:7'}\n")
    assert invoke("inner").stdout == "unix:/file.sock gateway.yaml False\n"
    assert invoke("inner", "-c", "other.yaml").stdout == "http://127.0.0.1:7 other.yaml False\n"
    assert invoke("inner", ICWS_CONFIG="other.yaml").stdout == "http://127.0.0.1:7 other.yaml False\n"
    assert invoke("inner", ICWS_SOCKET="/v.sock").stdout == "unix:/v.sock ICWS_SOCKET False\n"
    assert invoke("inner", "--url", "http://x", ICWS_SOCKET="/v.sock").stdout == "http://x --url False\n"
    assert invoke("inner", "-c", "other.yaml", ICWS_URL="http://x").stdout.startswith("http://127.0.0.1:7")
    assert invoke("--url", "http://y", "inner", ICWS_URL="http://x").stdout.startswith("http://y")


def test_a_machine_with_the_service_needs_no_option(elsewhere: Path):
    (elsewhere / "installed.yaml").write_text("control: {listen: unix:/installed.sock}\n")
    assert invoke("inner").stdout.startswith("unix:/installed.sock")
    (elsewhere / "gateway.yaml").write_text("control: {listen: unix:/here.sock}\n")
    assert invoke("inner").stdout.startswith("unix:/here.sock")


def test_two_places_are_wrong_usage():
    result = invoke("inner", "--socket", "a", "--url", "http://b")
    assert (result.exit_code, "give one" in result.stderr) == (2, True)


def test_a_gateway_without_a_control_plane_is_named(elsewhere: Path):
    (elsewhere / "gateway.yaml").write_text("control: {listen: null}\n")
    assert invoke("inner").stderr == "Error: gateway.yaml: control.listen is null, this gateway has no control plane\n"


def test_where_it_was_looked_for_is_said_unless_it_was_typed():
    looked = CliRunner(env={"ICWS_CONFIG": None}).invoke(main, ["status"])
    assert looked.exit_code == 1
    assert "there is no such socket; does the gateway run" in looked.stderr
    assert "gateway.yaml cannot be read; --socket or --url overrides it" in looked.stderr
    typed = CliRunner().invoke(main, ["status", "--socket", "x.sock"])
    assert "no gateway answers at unix:" in typed.stderr
    assert "overrides it" not in typed.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), ("a b", "must hold one token"), ("", "must hold one token"), (b"\xff", "is not text")],
)
def test_a_token_file_holds_one_token(elsewhere: Path, content: str | bytes | None, problem: str):
    file = elsewhere / "token"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    result = CliRunner().invoke(main, ["status", "--url", "http://127.0.0.1:1", "--token-file", str(file)])
    assert (result.exit_code, problem in result.stderr) == (1, True), result.stderr


def test_what_the_api_would_not_take_is_wrong_usage():
    with pytest.raises(click.UsageError, match=r"filter.*\n?.*reason: string should have at most 120"):
        request(CloseRequest, filter=None, reason="x" * 121)
    with pytest.raises(click.UsageError, match="name: write letters, digits"):
        request(AddTokenRequest, name="two words", role="viewer")
    body = request(CloseRequest, filter=SessionFilter(id="a"), reason=None)
    assert body.model_fields_set == {"filter"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_asks_a_gateway_says_so_in_its_help(name: str):
    command = main.get_command(click.Context(main), name)
    text = CliRunner().invoke(main, [name, "--help"]).output
    assert ("Gateway and output" in text) == (
        isinstance(command, RemoteCommand) or type(command).__name__ == "RemoteGroup"
    )
    assert max(map(len, text.splitlines())) <= 80


async def test_a_token_is_needed_over_tcp_and_enough(icws_tcp: Icws, elsewhere: Path):
    refused = await icws_tcp("status", code=1)
    assert "give a token: --token-file FILE" in refused.stderr
    file = elsewhere / "token"
    file.write_text(f"{SECRETS['viewer']}\n")
    assert (await icws_tcp("status", "--token-file", file)).stdout.startswith("gateway ")
    too_small = await icws_tcp("log", "debug", "--token-file", file, code=1)
    assert too_small.stderr == "Error: token:viewer is viewer, this needs operator\n"


async def test_a_program_gets_the_problem_details_too(icws: Icws):
    refused = await icws("sessions", "none", "--json", code=1)
    details = json.loads(refused.stdout)
    assert (details["type"], details["status"]) == ("urn:icws:problem:not-found", 404)
    assert refused.stderr == f"Error: {details['detail']}\n"


def test_a_client_is_made_of_what_the_command_line_says():
    with click.Context(outer):
        assert client().url.startswith("unix:")
