"""``icws history``: the configurations that ran, or were to run."""

from collections.abc import Iterator

import click

from appliance.cli.output.changes import change_lines
from appliance.cli.output.formatting import ago, time
from appliance.cli.output.printing import tell
from appliance.cli.output.table import Column, facts, table, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.cli.remote.completing import complete_generation
from appliance.control.client import path_to
from appliance.control.models import Difference, History, HistoryEntry, HistoryText

_COLUMNS = [
    Column("GENERATION", align="right"),
    Column("STATE"),
    Column("AT (UTC)"),
    Column("TRIGGER", least=6, rank=1),
    Column("BY", least=8),
    Column("PROBLEM", least=8, rank=2),
]
_RUNNING = 0
"""Stands for the generation that runs, whichever that is."""
_SIGNS = {"+": "green", "-": "red", "@": "cyan"}


@remote_command
@click.argument("generation", type=click.IntRange(1), required=False, shell_complete=complete_generation)
@click.option(
    "--diff",
    "other",
    type=click.IntRange(0),
    is_flag=False,
    flag_value=_RUNNING,
    metavar="M",
    help="Show what changes from M, or else from what runs, to GENERATION.",
)
def history(generation: int | None, other: int | None) -> None:
    """List the configurations that are kept, the newest first; show one in full, or what tells two apart."""
    if generation is None:
        if other is not None:
            raise click.UsageError("--diff needs the GENERATION to compare with")
        kept = client().get(History, path_to("config", "history"))
        tell(kept, table(_COLUMNS, map(_row, kept.items), room=width()))
    elif other is None:
        entry = client().get(HistoryText, path_to("config", "history", generation))
        tell(entry, _entry_lines(entry))
    else:
        query = {"with": other or None}
        difference = client().get(Difference, path_to("config", "history", generation, "diff"), **query)
        tell(difference, _difference_lines(difference))


def _row(entry: HistoryEntry) -> list[str]:
    number = f"{'*' if entry.is_running else ''}{entry.generation}"
    problem = " ".join((entry.problem or "").split())
    return [number, entry.state, time(entry.at), entry.trigger, entry.actor, problem]


def _entry_lines(entry: HistoryText) -> Iterator[str]:
    pairs = [
        ("generation", f"{entry.generation}{', which runs' if entry.is_running else ''}"),
        ("state", entry.state),
        ("at", f"{time(entry.at)} UTC, {ago(entry.at)}"),
        ("by", f"{entry.actor} ({entry.trigger})"),
        ("hash", entry.hash),
    ]
    if entry.problem:
        pairs.append(("problem", entry.problem))
    for line in facts(pairs, room=width()):
        yield f"# {line}"
    yield from entry.text.splitlines()


def _difference_lines(difference: Difference) -> Iterator[str]:
    yield f"from generation {difference.old} to {difference.new}:"
    yield from change_lines(difference.changes, room=width())
    if difference.text:
        yield ""
    for line in difference.text.splitlines():
        colour = _SIGNS.get(line[:1])
        yield click.style(line, fg=colour) if colour else line
