"""Options that choose sessions, and the table of them."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

import click

from appliance.cli.output.formatting import duration, number, size
from appliance.cli.output.table import Column, table
from appliance.cli.remote.completing import complete_canister
from appliance.cli.remote.options import DURATION
from appliance.control.models import GenerationName, Session, SessionState

Function = TypeVar("Function", bound=Callable[..., Any])

_COLUMNS = [
    Column("SESSION"),
    Column("CANISTER", least=7, cut="middle"),
    Column("CLIENT", least=20, cut="middle"),
    Column("STATE"),
    Column("AGE", align="right"),
    Column("ADDRESS", least=9, cut="middle", rank=1),
    Column("IN", align="right", rank=3),
    Column("OUT", align="right", rank=2),
    Column("WAITING", align="right", rank=4),
    Column("CALLS", align="right", rank=5),
    Column("WIRE", rank=6),
]
"""Messages in and out, bytes that wait for the client, calls that wait for the IC."""


def filters(function: Function) -> Function:
    """Give a command the options of a session filter."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def session_table(sessions: Iterable[Session], *, room: int | None) -> list[str]:
    """A line for each."""
    return table(_COLUMNS, map(_row, sessions), room=room)


def _row(session: Session) -> list[str]:
    return [
        session.id,
        session.canister_name or session.canister or "-",
        session.client or "-",
        session.state,
        duration(session.age_s),
        session.address,
        number(session.frames_in),
        number(session.delivered),
        size(session.waiting_bytes) if session.waiting_bytes else "-",
        number(session.waiting_calls) if session.waiting_calls else "-",
        session.generation,
    ]


_FILTERS = [
    click.option("--canister", metavar="CANISTER", shell_complete=complete_canister, help="Principal or name."),
    click.option("--client", metavar="CLIENT", help="Client as the list shows it, or its beginning."),
    click.option("--address", metavar="ADDRESS", help="IP address, network such as 10.0.0.0/8, or unix."),
    click.option("--generation", type=click.Choice(get_args(GenerationName)), help="Wire generation."),
    click.option("--state", type=click.Choice(get_args(SessionState)), help="How far it is."),
    click.option("--min-age", "min_age_s", type=DURATION, help="Connected for so long, e.g. 10m."),
]
