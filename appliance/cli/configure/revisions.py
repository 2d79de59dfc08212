"""``icws plan``, ``reload``, ``confirm``, ``rollback`` and ``history``: revisions of the running configuration."""

from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.configure.rolling import reload_cluster
from appliance.cli.exit_codes import EXIT_CONFIG
from appliance.cli.output.changes import applied_lines, change_lines
from appliance.cli.output.formatting import ago, time
from appliance.cli.output.terminal import Column, echo, field_lines, print_result, styled, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command, request, with_hint
from appliance.cli.remote.arguments import DURATION, complete_node, complete_revision
from appliance.cli.remote.config_source import errors_naming, read_config_text, with_file_name
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
    """Show which keys `icws reload` would change and how many sessions that affects. Nothing is applied.

    With FILE (- is standard input), that text is compared instead of the gateway's own file. Exit code 0: it can be
    applied; 1: it would be refused, because some keys need a restart; 78: it is invalid.
    """
    api = client()
    with errors_naming(file):
        found = api.post(Plan, path_to("config", "plan"), PlanRequest(text=read_config_text(file)))
    print_result(found, change_lines(found.changes, max_width=terminal_width()))
    if found.refused is not None:
        error = error_of(with_file_name(found.refused, file), api.url)
        echo(with_hint(error), err=True)
        raise SystemExit(EXIT_CONFIG if isinstance(error, ConfigError) else 1)


@remote_command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--confirm-within", type=DURATION, help="Roll back unless `icws confirm` follows within this time, e.g. 60s."
)
@click.option(
    "--keep-if-healthy",
    is_flag=True,
    help="Confirm automatically at the end of that time if the gateway is healthy. Not with several workers.",
)
@click.option(
    "--allow-restart", is_flag=True, help="Apply now what can be; keys that need a restart stay pending until then."
)
@click.option("--force", is_flag=True, help="Apply even if it removes every canister while sessions are open.")
@click.option("--save", is_flag=True, help="Also write FILE over the gateway's own file.")
@click.option(
    "--if-match", metavar="ETAG", help="Apply only if this is still active (see `icws config show --running`)."
)
@click.option("--cluster", is_flag=True, help="Node by node, and all keep it or none: each applies its own file.")
@click.option(
    "--without",
    multiple=True,
    metavar="NODE",
    shell_complete=complete_node,
    help="With --cluster: leave out this node, repeatable.",
)
def reload(
    file: Path | None,
    *,
    cluster: bool,
    without: tuple[str, ...],
    confirm_within: float | None,
    keep_if_healthy: bool,
    allow_restart: bool,
    force: bool,
    save: bool,
    if_match: str | None,
) -> None:
    """Apply the gateway's configuration file. No socket is closed unless a change requires it.

    With FILE (- is standard input), that text is applied instead. Without --save the gateway's file stays as it is: the
    next reload applies it, and so does a start once it has changed. All changes are applied or none. Exit code 1:
    refused, the active configuration stays; 78: invalid, with every problem listed by place and key.

    With --cluster, each node of the cluster runs its file on trial, one after the other. Where one refuses it, or a
    check of its readiness fails that did not fail before, all are taken back. Exit code 1: they were taken back.
    """
    if without and not cluster:
        raise click.UsageError("--without needs --cluster")
    if cluster:
        if file is not None or confirm_within is not None or keep_if_healthy or save or if_match is not None:
            raise click.UsageError(
                "with --cluster each node applies its own file: give --allow-restart or --force only"
            )
        reload_cluster(client(), without=without, allow_restart=allow_restart, force=force)
        return
    if keep_if_healthy and confirm_within is None:
        raise click.UsageError("--keep-if-healthy needs --confirm-within")
    if save and file is None:
        raise click.UsageError("--save needs FILE")
    body = request(
        ApplyRequest,
        text=read_config_text(file),
        confirm_within_s=confirm_within,
        keep_if_healthy=keep_if_healthy,
        allow_restart=allow_restart,
        force=force,
        save=save,
    )
    with errors_naming(file):
        applied = client().post(Applied, path_to("config", "apply"), body, if_match=if_match)
    print_result(applied, applied_lines(applied))


@remote_command
@click.option("--save", is_flag=True, help="Also write it to the gateway's file.")
def confirm(*, save: bool) -> None:
    """Keep the revision that `icws reload --confirm-within` applied; without this it is rolled back."""
    applied = client().post(Applied, path_to("config", "confirm"), ConfirmRequest(save=save))
    print_result(applied, applied_lines(applied))


@remote_command
@click.argument("revision", type=click.IntRange(1), required=False, shell_complete=complete_revision)
def rollback(revision: int | None) -> None:
    """Apply an earlier revision again: REVISION of `icws history`, by default the last good one before the active one.

    The file is not changed: the next reload applies it again, and so does a start once it has changed.
    """
    applied = client().post(Applied, path_to("config", "rollback"), RollbackRequest(generation=revision))
    print_result(applied, applied_lines(applied))


_HISTORY_COLUMNS = [
    Column("REVISION", align="right"),
    Column("STATE"),
    Column("AT (UTC)"),
    Column("TRIGGER", min_width=6, drop_priority=1),
    Column("BY", min_width=8),
    Column("PROBLEM", min_width=8, drop_priority=2),
]
_RUNNING = 0
"""Stands for the active revision."""
_SIGNS = {"+": "green", "-": "red", "@": "cyan"}


@remote_command
@click.argument("revision", type=click.IntRange(1), required=False, shell_complete=complete_revision)
@click.option(
    "--diff",
    "other",
    type=click.IntRange(0),
    is_flag=False,
    flag_value=_RUNNING,
    metavar="M",
    help="Show the changes from M (by default the active revision) to REVISION.",
)
def history(revision: int | None, other: int | None) -> None:
    """List the stored revisions of the configuration, newest first; show one in full, or compare two."""
    if revision is None:
        if other is not None:
            raise click.UsageError("--diff needs a REVISION")
        kept = client().get(History, path_to("config", "history"))
        print_result(kept, table(_HISTORY_COLUMNS, map(_history_row, kept.items), max_width=terminal_width()))
    elif other is None:
        entry = client().get(HistoryText, path_to("config", "history", revision))
        print_result(entry, _entry_lines(entry))
    else:
        query = {"with": other or None}
        difference = client().get(Difference, path_to("config", "history", revision, "diff"), **query)
        print_result(difference, _difference_lines(difference))


def _history_row(entry: HistoryEntry) -> list[str]:
    number = f"{'*' if entry.is_running else ''}{entry.generation}"
    problem = " ".join((entry.problem or "").split())
    return [number, entry.state, time(entry.at), entry.trigger, entry.actor, problem]


def _entry_lines(entry: HistoryText) -> Iterator[str]:
    pairs = [
        ("revision", f"{entry.generation}{' (active)' if entry.is_running else ''}"),
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
    yield f"from revision {difference.old} to {difference.new}:"
    yield from change_lines(difference.changes, max_width=terminal_width())
    if difference.text:
        yield ""
    for line in difference.text.splitlines():
        colour = _SIGNS.get(line[:1])
        yield styled(line, fg=colour) if colour else line
