"""``icws sessions`` and ``icws close``: the connected sessions, and the options that choose among them."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

import click

from appliance.cli.output.formatting import ago, canister_label, counted, duration, number, size, time
from appliance.cli.output.terminal import Column, echo, field_lines, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command, request, wants_json
from appliance.cli.remote.arguments import (
    DURATION,
    complete_canister,
    complete_session,
    missing_lines,
    nodes_option,
)
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

_SESSION_COLUMNS = [
    Column("SESSION"),
    Column("CANISTER", min_width=7, cut="middle"),
    Column("CLIENT", min_width=20, cut="middle"),
    Column("STATE"),
    Column("AGE", align="right"),
    Column("ADDRESS", min_width=9, cut="middle", drop_priority=1),
    Column("IN", align="right", drop_priority=3),
    Column("OUT", align="right", drop_priority=2),
    Column("WAITING", align="right", drop_priority=4),
    Column("CALLS", align="right", drop_priority=5),
    Column("WIRE", drop_priority=6),
]
_NODE_COLUMN = Column("NODE", min_width=4, cut="middle")
"""IN and OUT count messages, WAITING bytes for the client, CALLS those that wait for the IC."""


def filters(function: Function) -> Function:
    """Add the options of a session filter to a command."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def session_table(sessions: Iterable[Session], *, max_width: int | None) -> list[str]:
    """Return a table of sessions, with their nodes where there is a cluster."""
    rows = list(sessions)
    if all(each.node is None for each in rows):
        return table(_SESSION_COLUMNS, map(_session_row, rows), max_width=max_width)
    columns = [_SESSION_COLUMNS[0], _NODE_COLUMN, *_SESSION_COLUMNS[1:]]
    return table(columns, map(_session_row_with_node, rows), max_width=max_width)


def _session_row_with_node(session: Session) -> list[str]:
    first, *rest = _session_row(session)
    return [first, session.node or "-", *rest]


def _session_row(session: Session) -> list[str]:
    return [
        session.id,
        canister_label(session.canister, session.canister_name),
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
    click.option("--client", metavar="CLIENT", help="Client id as listed, or its beginning."),
    click.option("--address", metavar="ADDRESS", help="IP address, network such as 10.0.0.0/8, or unix."),
    click.option("--generation", type=click.Choice(get_args(GenerationName)), help="Wire generation."),
    click.option("--state", type=click.Choice(get_args(SessionState)), help="State of the session."),
    click.option("--min-age", "min_age_s", type=DURATION, help="Connected for at least this time, e.g. 10m."),
]


_PAGE = 1000
"""Sessions per request; the API allows no more."""


@remote_command
@click.argument("session", required=False, shell_complete=complete_session)
@filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Maximum number of sessions.")
@click.option("--all", "all_sessions", is_flag=True, help="List all sessions.")
@nodes_option
def sessions(session: str | None, *, limit: int, all_sessions: bool, node: str | None, **filter_options: Any) -> None:
    """List the sessions of all nodes, the longest connected first, or show one.

    Filters are combined: a session must match all of them. `icws explain SESSION` shows what happened in one.
    """
    if session is not None:
        found = client().get(Session, path_to("sessions", session), node=node)
        print_result(found, field_lines(_session_fields(found), max_width=terminal_width()))
        return
    some = _fetch(client(), {**filter_options, "node": node}, None if all_sessions else limit)
    print_result(some, _sessions_lines(some))


def _fetch(api: Client, filter_options: dict[str, Any], limit: int | None) -> Sessions:
    """Fetch page by page, up to ``limit`` sessions; None for all."""
    items: list[Session] = []
    after: str | None = None
    while True:
        most = _PAGE if limit is None else min(_PAGE, limit - len(items))
        page = api.get(Sessions, path_to("sessions"), **filter_options, limit=most, after=after)
        items, after = items + page.items, page.next
        if after is None or (limit is not None and len(items) >= limit):
            return Sessions(items=items, next=after, missing=page.missing)


def _sessions_lines(some: Sessions) -> Iterator[str]:
    if some.items:
        yield from session_table(some.items, max_width=terminal_width())
        yield counted(len(some.items), "session") + (", more exist: --all or --limit N" if some.next else "")
    else:
        yield "no sessions"
    yield from missing_lines(some.missing, "sessions")


def _session_fields(session: Session) -> Iterator[tuple[str, str]]:
    yield "session", session.id
    if session.node is not None:
        yield "node", session.node
    yield "state", session.state
    yield "client", session.client or "not known yet"
    yield "canister", canister_label(session.canister, session.canister_name) if session.canister else "not known yet"
    yield "address", session.address
    yield "path", f"{session.path} (wire generation {session.generation})"
    yield "connected", f"{ago(session.connected_at)} ({time(session.connected_at)} UTC)"
    yield "opened", f"{ago(session.opened_at)} ({time(session.opened_at)} UTC)" if session.opened_at else "not yet"
    yield "from client", f"{counted(session.frames_in, 'frame')}, {size(session.bytes_in)}"
    yield "to client", f"{counted(session.delivered, 'message')}, {size(session.bytes_out)}"
    yield (
        "waiting",
        f"{size(session.waiting_bytes)} for the client, {counted(session.waiting_calls, 'call')} for the IC",
    )


_PREVIEW_LENGTH = 10
"""Sessions listed before the confirmation."""


@remote_command
@click.argument("session", required=False, shell_complete=complete_session)
@filters
@click.option(
    "--code",
    type=click.IntRange(4000, 4999),
    help="Close code. Clients reconnect after codes up to 4499, not from 4500 on.",
)
@click.option("--reason", metavar="TEXT", help="Close reason that the clients receive.")
@click.option("--dry-run", is_flag=True, help="Only list the sessions.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@nodes_option
def close(
    session: str | None,
    *,
    code: int | None,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    node: str | None,
    **filter_options: Any,
) -> None:
    """Close SESSION, or all sessions that match every filter, at all nodes.

    Lists the sessions and asks for confirmation first. A SESSION or a filter is required: `icws drain start` closes all
    sessions. Exit code 1 where a node did not answer.
    """
    which = request(SessionFilter, id=session, **filter_options)
    if not which.model_fields_set:
        raise click.UsageError("give a SESSION or a filter; `icws drain start` closes all sessions")
    api = client()
    body = request(CloseRequest, filter=which, dry_run=True, code=code, reason=reason)
    wanted, where = {**filter_options, "node": node}, {"node": node}
    matching = api.ask(Closed, "POST", path_to("sessions", "close"), query=where, body=body)
    if dry_run or not matching.matched:
        print_result(matching, _preview(api, matching, wanted, session))
        _end(matching)
        return
    if not yes:
        _confirm(api, matching, wanted, session)
    now = body.model_copy(update={"dry_run": False})
    closed = api.ask(Closed, "POST", path_to("sessions", "close"), query=where, body=now)
    by_node = [f"{each.closed} at {each.node}" for each in closed.nodes if each.closed]
    at = f": {', '.join(by_node)}" if len(closed.nodes) > 1 and by_node else ""
    print_result(closed, [f"closed {counted(closed.closed, 'session')}{at}", *missing_lines(closed.missing, "those")])
    _end(closed)


def _end(closed: Closed) -> None:
    if closed.missing:
        raise SystemExit(1)


def _confirm(api: Client, found: Closed, filter_options: dict[str, Any], session: str | None) -> None:
    """Ask for confirmation. Raises ClickException if there is no terminal to ask at, Abort for a no."""
    if wants_json() or not sys.stdin.isatty():
        raise click.ClickException(f"would close {counted(found.matched, 'session')}; confirm with --yes")
    for line in _preview(api, found, filter_options, session):
        echo(line, err=True)
    click.confirm(f"Close {counted(found.matched, 'session')}?", abort=True, err=True)


def _preview(api: Client, found: Closed, filter_options: dict[str, Any], session: str | None) -> Iterator[str]:
    if session is None and found.matched:
        some = api.get(Sessions, path_to("sessions"), **filter_options, limit=_PREVIEW_LENGTH)
        yield from session_table(some.items, max_width=terminal_width())
    yield f"would close {counted(found.matched, 'session')}"
    yield from missing_lines(found.missing, "those")
