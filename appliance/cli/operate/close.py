"""``icws close``: end sessions, after a look at which."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from appliance.cli.operate.filters import filters, session_table
from appliance.cli.output.formatting import counted
from appliance.cli.output.printing import tell
from appliance.cli.output.table import width
from appliance.cli.remote.api_options import client, remote_command, request, wants_json
from appliance.cli.remote.completing import complete_session
from appliance.control.client import Client, path_to
from appliance.control.models import Closed, CloseRequest, SessionFilter, Sessions

SHOWN = 10
"""Sessions that are listed before the question."""


@remote_command
@click.argument("session", required=False, shell_complete=complete_session)
@filters
@click.option(
    "--code", type=click.IntRange(4000, 4999), help="Close code: clients come back up to 4499, from 4500 on not."
)
@click.option("--reason", metavar="TEXT", help="What the clients are told.")
@click.option("--dry-run", is_flag=True, help="Only say which they are.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
def close(
    session: str | None, *, code: int | None, reason: str | None, dry_run: bool, yes: bool, **wanted: Any
) -> None:
    """Close SESSION, or all sessions that fit all of the filters.

    First it looks who that would be, and asks. A filter that is empty, and so means everybody, is refused: for that
    there is `icws drain start`.
    """
    which = request(SessionFilter, id=session, **wanted)
    if not which.model_fields_set:
        raise click.UsageError("which sessions? Give a SESSION or a filter (for all of them: icws drain start)")
    asked = client()
    body = request(CloseRequest, filter=which, dry_run=True, code=code, reason=reason)
    counted_first = asked.post(Closed, path_to("sessions", "close"), body)
    if dry_run or not counted_first.matched:
        tell(counted_first, _preview(asked, counted_first, wanted, session))
        return
    if not yes:
        _ask(asked, counted_first, wanted, session)
    closed = asked.post(Closed, path_to("sessions", "close"), body.model_copy(update={"dry_run": False}))
    tell(closed, [f"closed {counted(closed.closed, 'session')}"])


def _ask(asked: Client, found: Closed, wanted: dict[str, Any], session: str | None) -> None:
    """Raises ClickException where nobody can be asked, Abort for a no."""
    if wants_json() or not sys.stdin.isatty():
        raise click.ClickException(f"would close {counted(found.matched, 'session')}; --yes does it without asking")
    for line in _preview(asked, found, wanted, session):
        click.echo(line, err=True)
    click.confirm(f"Close {counted(found.matched, 'session')}?", abort=True, err=True)


def _preview(asked: Client, found: Closed, wanted: dict[str, Any], session: str | None) -> Iterator[str]:
    if session is None and found.matched:
        some = asked.get(Sessions, path_to("sessions"), **wanted, limit=SHOWN)
        yield from session_table(some.items, room=width())
    yield f"would close {counted(found.matched, 'session')}"
