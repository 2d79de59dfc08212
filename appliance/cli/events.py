"""``icws events``: what happens, as it happens."""

from typing import get_args

import click

from appliance.cli.changes import flow
from appliance.cli.remote import client, remote_command, wants_json
from appliance.cli.show import json_text
from appliance.cli.table import folded, width
from appliance.cli.words import clock
from appliance.control.models import Event, EventKind

_INDENT = 32


@remote_command
@click.option("--kind", "kinds", type=click.Choice(get_args(EventKind)), multiple=True, help="Only these. Repeatable.")
@click.option("--after", type=click.IntRange(0), metavar="ID", help="Begin with those that came since this event.")
def events(kinds: tuple[str, ...], after: int | None) -> None:
    """Print what happens until interrupted: sessions, reloads, drains, canisters, limits and changes by people.

    With --json each is one line. Times are UTC. Ends with exit code 0 when the gateway does.
    """
    for event in client().events(list(kinds) or None, after):
        if wants_json():
            click.echo(json_text(event, compact=True))
        else:
            for line in _lines(event, width()):
                click.echo(line)


def _lines(event: Event, room: int | None) -> list[str]:
    facts = ", ".join(f"{name} {flow(value)}" for name, value in event.data.items() if value is not None)
    first, *rest = folded(facts, None if room is None else room - _INDENT)
    head = f"{clock(event.at)}  {click.style(f'{event.kind:<16}', bold=True)}  {first}"
    return [head, *(f"{'':{_INDENT}}{line}" for line in rest)]
