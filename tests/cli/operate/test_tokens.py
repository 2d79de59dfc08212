import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.control.auth.tokens import hash_token, parse_tokens
from tests.cli.conftest import Icws
from tests.control.plane import SECRETS


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_token_is_made_without_a_gateway_and_shown_once_with_its_line(role: str):
    result = CliRunner().invoke(main, ["tokens", "new", role, "--name", "grafana", "--json"])
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    (grant,), problems = parse_tokens(made["line"], "tokens")
    assert (problems, grant.name, grant.role) == ([], "grafana", role)
    assert grant.sha256 == hash_token(made["token"])
    assert made["token"] not in made["line"]
    plain = CliRunner().invoke(main, ["tokens", "new", role]).stdout.splitlines()
    assert plain[0].startswith("token (shown once):    icws_")
    assert plain[1].split()[4].startswith(f"{role}-")
    assert made["token"] not in plain[0], "each is another"


def test_names_and_roles_stand_in_one_order_in_both_commands():
    made = json.loads(CliRunner().invoke(main, ["tokens", "new", "grafana", "viewer", "--json"]).stdout)
    assert (made["name"], made["role"]) == ("grafana", "viewer")
    for command in ("new", "add"):
        wrong = CliRunner().invoke(main, ["tokens", command, "viewer", "grafana"])
        assert wrong.exit_code == 2
        assert "the role stands last: NAME ROLE, here grafana viewer" in wrong.stderr
        wrong = CliRunner().invoke(main, ["tokens", command, "grafana", "root"])
        assert "'root' is no role; write viewer, operator or admin" in wrong.stderr
    twice = CliRunner().invoke(main, ["tokens", "new", "grafana", "viewer", "--name", "other"])
    assert (twice.exit_code, "give one name" in twice.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["new", "root"], ["new", "viewer", "--name", "a b"], ["new"]])
def test_wrong_usage_is_2(arguments: list[str]):
    assert CliRunner().invoke(main, ["tokens", *arguments]).exit_code == 2


async def test_a_token_of_the_gateway_is_good_at_once_until_it_is_ended(icws_tcp: Icws, tmp_path: Path):
    admin, other = tmp_path / "admin", tmp_path / "other"
    admin.write_text(SECRETS["admin"])
    icws_tcp.environment["ICWS_TOKEN_FILE"] = str(admin)
    assert await icws_tcp.rows("tokens") == [["viewer", "viewer"], ["operator", "operator"], ["admin", "admin"]]
    made = await icws_tcp.json("tokens", "add", "grafana", "viewer")
    other.write_text(made["token"])
    await icws_tcp("status", "--token-file", other)
    assert "grafana already" in (await icws_tcp("tokens", "add", "grafana", "admin", code=1)).stderr
    gone = await icws_tcp.lines("tokens", "remove", "grafana")
    assert gone == ["revoked the token of grafana (viewer)"]
    assert "this token is not known here" in (await icws_tcp("status", "--token-file", other, code=1)).stderr
    assert "no token named grafana" in (await icws_tcp("tokens", "remove", "grafana", code=1)).stderr
