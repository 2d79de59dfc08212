from collections.abc import Sequence
from typing import Any, Unpack

import click
import pytest
from click.testing import CliRunner, Result

from appliance.cli.develop.conditions import Knobs, condition_options, conditions_of, describe
from appliance.localnet.subnet.conditions import Conditions


def run(arguments: Sequence[str]) -> tuple[Result, Conditions | None]:
    """Run a command that has nothing but these options."""
    made: list[Conditions] = []

    @click.command()
    @condition_options
    def command(**knobs: Unpack[Knobs]) -> None:
        made.append(conditions_of(knobs, "seed"))
        for phrase in describe(made[0]):
            click.echo(phrase)

    result = CliRunner().invoke(command, list(arguments))
    return result, made[0] if made else None


def test_without_options_everything_is_done_at_once_and_nothing_is_said() -> None:
    result, made = run([])
    assert (made, result.output) == (Conditions(seed=b"seed"), "")


def test_like_the_mainnet() -> None:
    result, made = run(["--like-mainnet"])
    assert made == Conditions.like_mainnet(b"seed")
    assert "a block every 1 s\n13 replicas, each request meets any of them\n" in result.output
    assert "replicas up to 2 blocks behind\ngossip of 20 to 80 ms\nround trips of 80 to 120 ms\n" in result.output


KNOBS: list[tuple[str, str, str, Any]] = [
    ("--block-time", "0.25", "block_time_s", 0.25),
    ("--replicas", "40", "replicas", 40),
    ("--gossip", "5-7.5", "gossip_s", (0.005, 0.0075)),
    ("--lag", "1.5", "lag_blocks", 1.5),
    ("--round-trip", "30", "round_trip_s", (0.03, 0.03)),
    ("--call-wait", "3", "call_wait_s", 3.0),
]


@pytest.mark.parametrize(("option", "text", "field", "value"), KNOBS)
def test_an_option_changes_one_condition(option: str, text: str, field: str, value: object) -> None:
    _, made = run(["--like-mainnet", option, text])
    usual = Conditions.like_mainnet(b"seed")
    assert made is not None
    changed = {name for name in vars(usual) if getattr(made, name) != getattr(usual, name)}
    assert (changed, getattr(made, field)) == ({field}, value)
    blocks = [] if option in ("--block-time", "--round-trip", "--call-wait") else ["--block-time", "1"]
    result, alone = run([*blocks, option, text])
    assert getattr(alone, field) == value
    assert len(result.output.splitlines()) == 1 + bool(blocks)


@pytest.mark.parametrize("option", ["--gossip", "--round-trip"])
@pytest.mark.parametrize("text", ["", "x", "-5", "1-2-3", "1e3"])
def test_what_is_no_time_is_refused(option: str, text: str) -> None:
    result, made = run([option, text])
    assert (result.exit_code, made) == (2, None)
    assert "is no time in milliseconds such as 50 or 20-80" in result.output


@pytest.mark.parametrize("arguments", [["--replicas", "2"], ["--like-mainnet", "--block-time", "0"]])
def test_what_needs_blocks_is_refused_without_them(arguments: list[str]) -> None:
    result, made = run(arguments)
    assert (result.exit_code, made) == (2, None)
    assert "--block-time sets one" in result.output


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    result, _ = run(["--like-mainnet", "--gossip", "80-20"])
    assert result.exit_code == 2
    assert "gossip_s is 0.08 to 0.02" in result.output
