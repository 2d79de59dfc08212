"""``icws sessions`` and ``icws close``: the connected sessions, and the options that choose among them."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

import click

from appliance.cli.output.formatting import ago, counted, duration, number, size, time
from appliance.cli.output.terminal import Column, field_lines, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command, request, wants_json
from appliance.cli.remote.arguments import DURATION, complete_canister, complete_session
from appliance.control.client import Client, path_to
from appliance.control.models import (
    Closed,
    CloseRequest,
    GenerationName,
    Session,
    SessionFilter,
    Sessions,
    SessionState,
)

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


def session_table(sessions: Iterable[Session], *, max_width: int | None) -> list[str]:
    """A line for each."""
    return table(_COLUMNS, map(_row, sessions), max_width=max_width)


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


_PAGE = 1000
"""The most of one answer."""


@remote_command
@click.argument("session", required=False, shell_complete=complete_session)
@filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--all", "everybody", is_flag=True, help="As many as there are.")
def sessions(session: str | None, *, limit: int, everybody: bool, **wanted: Any) -> None:
    """List the sessions that are there, the longest connected first, or show one.

    With filters only those that fit all of them. `icws explain SESSION` tells what happened in one.
    """
    if session is not None:
        found = client().get(Session, path_to("sessions", session))
        print_result(found, field_lines(_pairs(found), max_width=terminal_width()))
        return
    some = _fetch(client(), wanted, None if everybody else limit)
    print_result(some, _lines(some))


def _fetch(api: Client, wanted: dict[str, Any], limit: int | None) -> Sessions:
    """Page by page."""
    items: list[Session] = []
    after: str | None = None
    while True:
        most = _PAGE if limit is None else min(_PAGE, limit - len(items))
        page = api.get(Sessions, path_to("sessions"), **wanted, limit=most, after=after)
        items, after = items + page.items, page.next
        if after is None or (limit is not None and len(items) >= limit):
            return Sessions(items=items, next=after)


def _lines(some: Sessions) -> Iterator[str]:
    if not some.items:
        yield "no session"
        return
    yield from session_table(some.items, max_width=terminal_width())
    yield counted(len(some.items), "session") + (", and there are more: --all or --limit N" if some.next else "")


def _pairs(session: Session) -> Iterator[tuple[str, str]]:
    name = f"{session.canister_name}, " if session.canister_name else ""
    yield "session", session.id
    yield "state", session.state
    yield "client", session.client or "did not join yet"
    yield "canister", f"{name}{session.canister}" if session.canister else "did not join yet"
    yield "address", session.address
    yield "path", f"{session.path} (wire generation {session.generation})"
    yield "connected", f"{ago(session.connected_at)} ({time(session.connected_at)} UTC)"
    yield "opened", f"{ago(session.opened_at)} ({time(session.opened_at)} UTC)" if session.opened_at else "not yet"
    yield "from client", f"{counted(session.frames_in, 'frame')}, {size(session.bytes_in)}"
    yield "to client", f"{counted(session.delivered, 'message')}, {size(session.bytes_out)}"
    yield "waiting", f"{size(session.waiting_bytes)} for the client, {number(session.waiting_calls)} calls for the IC"


_PREVIEW_LENGTH = 10
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
    api = client()
    body = request(CloseRequest, filter=which, dry_run=True, code=code, reason=reason)
    counted_first = api.post(Closed, path_to("sessions", "close"), body)
    if dry_run or not counted_first.matched:
        print_result(counted_first, _preview(api, counted_first, wanted, session))
        return
    if not yes:
        _confirm(api, counted_first, wanted, session)
    closed = api.post(Closed, path_to("sessions", "close"), body.model_copy(update={"dry_run": False}))
    print_result(closed, [f"closed {counted(closed.closed, 'session')}"])


def _confirm(api: Client, found: Closed, wanted: dict[str, Any], session: str | None) -> None:
    """Raises ClickException where nobody can be api, Abort for a no."""
    if wants_json() or not sys.stdin.isatty():
        raise click.ClickException(f"would close {counted(found.matched, 'session')}; --yes does it without asking")
    for line in _preview(api, found, wanted, session):
        click.echo(line, err=True)
    click.confirm(f"Close {counted(found.matched, 'session')}?", abort=True, err=True)


def _preview(api: Client, found: Closed, wanted: dict[str, Any], session: str | None) -> Iterator[str]:
    if session is None and found.matched:
        some = api.get(Sessions, path_to("sessions"), **wanted, limit=_PREVIEW_LENGTH)
        yield from session_table(some.items, max_width=terminal_width())
    yield f"would close {counted(found.matched, 'session')}"
