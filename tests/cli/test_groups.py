"""What groups of commands say to a word that is none of them."""

import click
import pytest
from click.testing import CliRunner

from appliance.cli.groups import HelpfulGroup
from appliance.cli.main import COMMANDS, main


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["drain", "shop"], "For what is named shop, write `icws drain start --canister shop`."),
        (["drain", "strat"], "did you mean start or status?"),
        (["canisters", "shop"], "write `icws canisters show shop`"),
        (["tokens", "bob"], "the commands are add, new, remove"),
        (["config", "explian"], "did you mean explain?"),
        (["identity", "mine"], "the commands are import, new, show"),
        (["cert", "verify"], "the commands are show"),
    ],
)
def test_an_unknown_command_of_a_group_has_a_way_out(arguments: list[str], way_out: str):
    result = CliRunner().invoke(main, arguments, prog_name="icws")
    assert result.exit_code == 2
    assert f"`icws {arguments[0]}` has no command {arguments[1]!r}" in result.stderr
    assert way_out in result.stderr


def test_every_group_is_one_of_these():
    context = click.Context(main)
    groups = [main.get_command(context, name) for name in COMMANDS]
    assert all(isinstance(group, HelpfulGroup) for group in groups if isinstance(group, click.Group))
