"""``icws explain``: what happened in a session."""

from collections.abc import Iterator
from datetime import datetime

import click

from appliance.cli.output.changes import flow
from appliance.cli.output.formatting import clock, counted, duration, time
from appliance.cli.output.printing import tell
from appliance.cli.output.table import facts, folded, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.cli.remote.completing import complete_session
from appliance.control.client import path_to
from appliance.control.models import Moment, Story


@remote_command
@click.argument("session", shell_complete=complete_session)
@click.option("--facts", "with_facts", is_flag=True, help="With the facts behind each sentence.")
def explain(session: str, *, with_facts: bool) -> None:
    """Tell what happened in SESSION, in sentences; also after it was closed, for as long as it is remembered.

    What was said in it is never recorded. Times are UTC; behind each is the time since the line before.
    """
    story = client().get(Story, path_to("sessions", session, "story"))
    tell(story, _lines(story, with_facts=with_facts))


def _lines(story: Story, *, with_facts: bool) -> Iterator[str]:
    room = width()
    yield from facts(_pairs(story), room=room)
    if story.dropped:
        yield f"({counted(story.dropped, 'older moment')} are forgotten)"
    before: datetime | None = None
    for moment in story.moments:
        yield from _moment(moment, before, room, with_facts=with_facts)
        before = moment.at


def _moment(moment: Moment, before: datetime | None, room: int | None, *, with_facts: bool) -> Iterator[str]:
    since = "" if before is None else f"+{duration(max(0.0, (moment.at - before).total_seconds()))}"
    first, *rest = folded(moment.sentence, None if room is None else room - 24)
    yield f"{clock(moment.at)}  {click.style(f'{since:>8}', dim=True)}  {first}"
    yield from (f"{'':24}{line}" for line in rest)
    if with_facts and moment.facts:
        for line in folded(f"{moment.kind} {flow(moment.facts)}", None if room is None else room - 24):
            yield f"{'':24}{click.style(line, dim=True)}"


def _pairs(story: Story) -> Iterator[tuple[str, str]]:
    yield "session", f"{story.session}, {'closed' if story.closed else 'still there'}"
    if story.moments:
        yield "since", f"{time(story.moments[0].at)} UTC"
    if story.address:
        yield "address", story.address
    if story.client:
        yield "client", story.client
    if story.canister:
        yield "canister", story.canister
