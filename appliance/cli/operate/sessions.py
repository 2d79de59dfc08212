"""``icws sessions``: who is connected."""

from collections.abc import Iterator
from typing import Any

import click

from appliance.cli.operate.filters import filters, session_table
from appliance.cli.output.formatting import ago, counted, number, size, time
from appliance.cli.output.printing import tell
from appliance.cli.output.table import facts, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.cli.remote.completing import complete_session
from appliance.control.client import Client, path_to
from appliance.control.models import Session, Sessions

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
        tell(found, facts(_pairs(found), room=width()))
        return
    some = _fetch(client(), wanted, None if everybody else limit)
    tell(some, _lines(some))


def _fetch(asked: Client, wanted: dict[str, Any], limit: int | None) -> Sessions:
    """Page by page."""
    items: list[Session] = []
    after: str | None = None
    while True:
        most = _PAGE if limit is None else min(_PAGE, limit - len(items))
        page = asked.get(Sessions, path_to("sessions"), **wanted, limit=most, after=after)
        items, after = items + page.items, page.next
        if after is None or (limit is not None and len(items) >= limit):
            return Sessions(items=items, next=after)


def _lines(some: Sessions) -> Iterator[str]:
    if not some.items:
        yield "no session"
        return
    yield from session_table(some.items, room=width())
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
