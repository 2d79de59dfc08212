"""Options of ``icws localnet`` and ``icws demo`` for the conditions of the network."""

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict, TypeVar

import click

from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.draws import Span

F = TypeVar("F", bound=Callable[..., Any])


class Milliseconds(click.ParamType[Span]):
    """One time or the least and the greatest, as in 50 and 20-80. The value is a span in seconds."""

    name = "MS[-MS]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """Raises BadParameter."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", str(value))
        if match is None:
            self.fail(f"{value!r} is no time in milliseconds such as 50 or 20-80", param, ctx)
        low, high = match.groups()
        return float(low) / 1000, float(high or low) / 1000


SECONDS = click.FloatRange(min=0)
OPTIONS = (
    click.option(
        "--like-mainnet",
        is_flag=True,
        help="Blocks of 1 s, 13 replicas up to 2 blocks behind, gossip of 20-80 ms, round trips of 80-120 ms. "
        "The options below change one of these, or one of a network that does everything at once.",
    ),
    click.option("--block-time", type=SECONDS, metavar="S", help="Seconds between two blocks."),
    click.option(
        "--replicas", type=click.IntRange(min=1), metavar="N", help="Replicas; each request meets any of them."
    ),
    click.option("--gossip", type=Milliseconds(), help="Time until a replica knows the call that another received."),
    click.option("--lag", type=SECONDS, metavar="BLOCKS", help="How many blocks a replica may be behind."),
    click.option("--round-trip", type=Milliseconds(), help="Time that a request and its response are on their way."),
    click.option("--call-wait", type=SECONDS, metavar="S", help="Seconds until a call is answered with 202."),
)


class Knobs(TypedDict):
    """The values of these options; None where one is not given."""

    like_mainnet: bool
    block_time: float | None
    replicas: int | None
    gossip: Span | None
    lag: float | None
    round_trip: Span | None
    call_wait: float | None


FIELDS = {
    "block_time": "block_time_s",
    "replicas": "replicas",
    "gossip": "gossip_s",
    "lag": "lag_blocks",
    "round_trip": "round_trip_s",
    "call_wait": "call_wait_s",
}


def condition_options(command: F) -> F:
    """Decorate a command that takes `Knobs`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def conditions_of(knobs: Knobs, seed: str | None = None) -> Conditions:
    """The conditions that the options say, by this seed or a random one. Raises UsageError."""
    drawn = secrets.token_bytes(8) if seed is None else seed.encode()
    base = Conditions.like_mainnet(drawn) if knobs["like_mainnet"] else Conditions(seed=drawn)
    given: dict[str, Any] = {FIELDS[name]: value for name, value in knobs.items() if name in FIELDS}
    try:
        return replace(base, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(f"{error}; --block-time sets one, --like-mainnet sets everything") from error


def describe(conditions: Conditions) -> list[str]:
    """What differs from a network that does everything at once, one phrase each; empty for such a network."""
    plain, them = Conditions(), conditions
    phrases = {
        "block_time_s": f"a block every {them.block_time_s:g} s",
        "replicas": f"{them.replicas} replicas, each request meets any of them",
        "lag_blocks": f"replicas up to {them.lag_blocks:g} blocks behind",
        "gossip_s": f"gossip of {_milliseconds(them.gossip_s)}",
        "round_trip_s": f"round trips of {_milliseconds(them.round_trip_s)}",
        "call_wait_s": f"202 for calls after {them.call_wait_s:g} s",
    }
    return [phrase for name, phrase in phrases.items() if getattr(them, name) != getattr(plain, name)]


def _milliseconds(span: Span) -> str:
    low, high = (f"{seconds * 1000:g}" for seconds in span)
    return f"{low} ms" if low == high else f"{low} to {high} ms"
