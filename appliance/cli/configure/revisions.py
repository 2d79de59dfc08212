"""``icws plan``, ``reload``, ``confirm``, ``rollback`` and ``history``: revisions of the running configuration."""

from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.exit_codes import EXIT_CONFIG
from appliance.cli.output.changes import applied_lines, change_lines
from appliance.cli.output.formatting import ago, time
from appliance.cli.output.terminal import Column, field_lines, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, explained, remote_command, request
from appliance.cli.remote.arguments import DURATION, complete_revision
from appliance.cli.remote.config_source import called, renamed, text_of
from appliance.control.client import error_of, path_to
from appliance.control.models import (
    Applied,
    ApplyRequest,
    ConfirmRequest,
    Difference,
    History,
    HistoryEntry,
    HistoryText,
    Plan,
    PlanRequest,
    RollbackRequest,
)
from appliance.errors import ConfigError


@remote_command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
def plan(file: Path | None) -> None:
    """Show what `icws reload` would change, key by key, and how many sessions it would touch. Nothing is applied.

    With FILE (- is standard input) that text is looked at as if it were in the gateway's own file. Exit code 0: it
    could be applied; 1: it would be refused, as some keys need a restart; 78: it cannot be used.
    """
    api = client()
    with called(file):
        found = api.post(Plan, path_to("config", "plan"), PlanRequest(text=text_of(file)))
    print_result(found, change_lines(found.changes, max_width=terminal_width()))
    if found.refused is not None:
        error = error_of(renamed(found.refused, file), api.url)
        click.echo(explained(error), err=True)
        raise SystemExit(EXIT_CONFIG if isinstance(error, ConfigError) else 1)


@remote_command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--confirm-within", type=DURATION, help="Roll back by itself unless `icws confirm` comes in this time, e.g. 60s."
)
@click.option("--keep-if-healthy", is_flag=True, help="Confirm it by itself then if nothing is wrong.")
@click.option("--allow-restart", is_flag=True, help="Apply the rest where some keys need a restart; those wait for it.")
@click.option("--force", is_flag=True, help="Also where every canister would go while sessions are open.")
@click.option("--save", is_flag=True, help="Write FILE over the gateway's own file, too.")
@click.option("--if-match", metavar="ETAG", help="Only if it still runs (`icws config show --running`).")
def reload(
    file: Path | None,
    *,
    confirm_within: float | None,
    keep_if_healthy: bool,
    allow_restart: bool,
    force: bool,
    save: bool,
    if_match: str | None,
) -> None:
    """Run the configuration that the gateway's file has now, without dropping a socket that the change does not name.

    With FILE (- is standard input) that text is run instead, until the next reload or restart unless --save is given.
    All of it is applied or nothing. Exit code 1: it is refused, and what ran runs on; 78: it cannot be used, and every
    fault is named with place and key.
    """
    if keep_if_healthy and confirm_within is None:
        raise click.UsageError("--keep-if-healthy goes with --confirm-within")
    if save and file is None:
        raise click.UsageError("--save goes with FILE: the gateway's own file is what it is")
    body = request(
        ApplyRequest,
        text=text_of(file),
        confirm_within_s=confirm_within,
        keep_if_healthy=keep_if_healthy,
        allow_restart=allow_restart,
        force=force,
        save=save,
    )
    with called(file):
        applied = client().post(Applied, path_to("config", "apply"), body, if_match=if_match)
    print_result(applied, applied_lines(applied))


@remote_command
@click.option("--save", is_flag=True, help="Write it to the gateway's file, too.")
def confirm(*, save: bool) -> None:
    """Keep the configuration that `icws reload --confirm-within` applied; otherwise it is rolled back."""
    applied = client().post(Applied, path_to("config", "confirm"), ConfirmRequest(save=save))
    print_result(applied, applied_lines(applied))


@remote_command
@click.argument("generation", type=click.IntRange(1), required=False, shell_complete=complete_revision)
def rollback(generation: int | None) -> None:
    """Run an earlier configuration again: GENERATION of `icws history`, or the last good one before this.

    The file stays as it is, so that the next reload or start would go by it.
    """
    applied = client().post(Applied, path_to("config", "rollback"), RollbackRequest(generation=generation))
    print_result(applied, applied_lines(applied))


_HISTORY_COLUMNS = [
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
@click.argument("generation", type=click.IntRange(1), required=False, shell_complete=complete_revision)
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
        print_result(kept, table(_HISTORY_COLUMNS, map(_history_row, kept.items), max_width=terminal_width()))
    elif other is None:
        entry = client().get(HistoryText, path_to("config", "history", generation))
        print_result(entry, _entry_lines(entry))
    else:
        query = {"with": other or None}
        difference = client().get(Difference, path_to("config", "history", generation, "diff"), **query)
        print_result(difference, _difference_lines(difference))


def _history_row(entry: HistoryEntry) -> list[str]:
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
    for line in field_lines(pairs, max_width=terminal_width()):
        yield f"# {line}"
    yield from entry.text.splitlines()


def _difference_lines(difference: Difference) -> Iterator[str]:
    yield f"from generation {difference.old} to {difference.new}:"
    yield from change_lines(difference.changes, max_width=terminal_width())
    if difference.text:
        yield ""
    for line in difference.text.splitlines():
        colour = _SIGNS.get(line[:1])
        yield click.style(line, fg=colour) if colour else line
