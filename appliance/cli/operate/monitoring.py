"""``icws limits``, ``plugins``, ``audit``, ``metrics`` and ``log``: one look at one part of the gateway each."""

from collections.abc import Iterator
from typing import get_args

import click

from appliance.cli.output.formatting import duration, number, time
from appliance.cli.output.terminal import Column, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command, wants_json
from appliance.config.units import format_rate
from appliance.control.client import path_to
from appliance.control.models import Audit, AuditEntry, Limit, Limits, Log, LogLevel, Plugin, Plugins

_LIMIT_COLUMNS = [
    Column("LIMIT", least=19),
    Column("MODE"),
    Column("RATE", align="right"),
    Column("BURST", align="right"),
    Column("KEYS", align="right", rank=1),
    Column("ALLOWED", align="right"),
    Column("LIMITED", align="right"),
    Column("SHADOWED", align="right"),
]
_WAITING_COLUMNS = [
    Column("WHO HAS TO WAIT", least=20, cut="middle"),
    Column("LIMIT", least=10),
    Column("FOR", align="right"),
    Column("TIMES", align="right"),
]


@remote_command
def limits() -> None:
    """Show each rate limit, how often it let in and turned away since the start, and who has to wait now.

    SHADOWED is how often it would have turned away, had its mode not been shadow.
    """
    found = client().get(Limits, path_to("limits"))
    print_result(found, _limits_lines(found))


def _limits_lines(found: Limits) -> Iterator[str]:
    yield from table(_LIMIT_COLUMNS, map(_limit_row, found.items), max_width=terminal_width())
    waiting = [
        [key.key, _limit_name(limit), duration(key.retry_after_s), number(key.times)]
        for limit in found.items
        for key in limit.waiting
    ]
    yield ""
    if waiting:
        yield from table(_WAITING_COLUMNS, waiting, max_width=terminal_width())
    else:
        yield "nobody has to wait"


def _limit_row(limit: Limit) -> list[str]:
    counts = [limit.burst, limit.keys, limit.allowed, limit.limited, limit.shadowed]
    return [_limit_name(limit), limit.mode, format_rate(limit.rate), *map(number, counts)]


def _limit_name(limit: Limit) -> str:
    return f"{limit.scope} of {limit.canister}" if limit.canister else limit.scope


_PLUGIN_COLUMNS = [
    Column("PLUGIN"),
    Column("STATE"),
    Column("CALLS", align="right"),
    Column("FAILED", align="right"),
    Column("SLOW", align="right"),
    Column("HOOKS", least=10, rank=1),
    Column("FROM", least=10, cut="middle", rank=2),
]


@remote_command
def plugins() -> None:
    """List the plugins in the order in which they are api, with their hooks and what went wrong."""
    found = client().get(Plugins, path_to("plugins"))
    print_result(found, _plugins_lines(found))


def _plugins_lines(found: Plugins) -> Iterator[str]:
    if not found.items:
        yield "no plugin is loaded"
        return
    yield from table(_PLUGIN_COLUMNS, map(_plugin_row, found.items), max_width=terminal_width())
    for plugin in found.items:
        if plugin.last_error:
            yield f"{plugin.name}: {plugin.last_error}"


def _plugin_row(plugin: Plugin) -> list[str]:
    numbers = [number(count) for count in (plugin.calls, plugin.failures, plugin.slow)]
    return [plugin.name, plugin.state, *numbers, ", ".join(plugin.hooks), plugin.source]


_AUDIT_COLUMNS = [
    Column("AT (UTC)"),
    Column("BY", least=10),
    Column("ROLE", rank=3),
    Column("FROM", least=7, cut="middle", rank=2),
    Column("DID", least=8),
    Column("TO", least=8, cut="middle"),
    Column("ANSWER", least=3),
]


@remote_command
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
def audit(limit: int) -> None:
    """List who has tried to change something, the newest first; --json has what it was before and after."""
    found = client().get(Audit, path_to("audit"), limit=limit)
    rows = (
        table(_AUDIT_COLUMNS, map(_audit_row, found.items), max_width=terminal_width())
        if found.items
        else ["nobody has tried to change anything"]
    )
    print_result(found, rows)


def _audit_row(entry: AuditEntry) -> list[str]:
    answer = f"{entry.status} {entry.problem}" if entry.problem else str(entry.status)
    return [time(entry.at), entry.actor, entry.role, entry.address, entry.action, entry.target or "-", answer]


@remote_command
def metrics() -> None:
    """Print all metrics as Prometheus reads them, e.g. for the text file collector where only the Unix socket is open.

    `icws status --json` has the most important ones for other programs.
    """
    if wants_json():
        raise click.UsageError("metrics are text for Prometheus; icws status --json has counters in JSON")
    click.echo(client().text("/metrics"), nl=False)


@remote_command
@click.argument("level", type=click.Choice(get_args(LogLevel)), required=False)
def log(level: LogLevel | None) -> None:
    """Show the least that is logged, or log LEVEL from now on, until log.level changes or the gateway restarts."""
    api = client()
    if level is None:
        found = api.get(Log, path_to("log"))
    else:
        found = api.ask(Log, "PUT", path_to("log"), body=Log(level=level))
    print_result(found, [found.level])
