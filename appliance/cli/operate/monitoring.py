"""``icws limits``, ``plugins``, ``audit``, ``metrics`` and ``log``: each shows one part of the gateway."""

from collections.abc import Iterator
from typing import get_args

import click

from appliance.cli.output.formatting import canister_label, duration, number, time
from appliance.cli.output.terminal import Column, echo, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command, wants_json
from appliance.config.fields.units import format_rate
from appliance.control.client import path_to
from appliance.control.models import Audit, AuditEntry, Limit, Limits, Log, LogLevel, Plugin, Plugins

_LIMIT_COLUMNS = [
    Column("LIMIT", min_width=19),
    Column("MODE"),
    Column("BY", drop_priority=2),
    Column("RATE", align="right"),
    Column("BURST", align="right"),
    Column("KEYS", align="right", drop_priority=1),
    Column("ALLOWED", align="right"),
    Column("LIMITED", align="right"),
    Column("SHADOWED", align="right"),
]
_WAITING_COLUMNS = [
    Column("WHO HAS TO WAIT", min_width=20, cut="middle"),
    Column("LIMIT", min_width=10),
    Column("FOR", align="right"),
    Column("TIMES", align="right"),
]


@remote_command
def limits() -> None:
    """Show each rate limit with its counts since the start, and who has to wait now.

    SHADOWED counts what a limit in mode shadow would have refused. BY is who counts: each node, or the whole cluster.
    """
    found = client().get(Limits, path_to("limits"))
    print_result(found, _limits_lines(found))


def _limits_lines(found: Limits) -> Iterator[str]:
    yield from table(_LIMIT_COLUMNS, map(_limit_row, found.items), max_width=terminal_width())
    if found.problem is not None:
        yield f"this node counts alone: {found.problem}"
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
    return [_limit_name(limit), limit.mode, limit.counted_by, format_rate(limit.rate), *map(number, counts)]


def _limit_name(limit: Limit) -> str:
    return f"{limit.scope} of {canister_label(limit.canister, limit.canister_name)}" if limit.canister else limit.scope


_PLUGIN_COLUMNS = [
    Column("PLUGIN"),
    Column("STATE"),
    Column("CALLS", align="right"),
    Column("FAILED", align="right"),
    Column("SLOW", align="right"),
    Column("HOOKS", min_width=10, drop_priority=1),
    Column("FROM", min_width=10, cut="middle", drop_priority=2),
]


@remote_command
def plugins() -> None:
    """List the plugins in the order of their calls, with their hooks and last errors."""
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
    Column("BY", min_width=10),
    Column("ROLE", drop_priority=3),
    Column("ADDRESS", min_width=7, cut="middle", drop_priority=2),
    Column("ACTION", min_width=8),
    Column("TARGET", min_width=8, cut="middle"),
    Column("STATUS", min_width=3),
]


@remote_command
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of entries.")
def audit(limit: int) -> None:
    """List attempted changes, newest first; --json includes the state before and after."""
    found = client().get(Audit, path_to("audit"), limit=limit)
    rows = (
        table(_AUDIT_COLUMNS, map(_audit_row, found.items), max_width=terminal_width())
        if found.items
        else ["no changes were attempted"]
    )
    print_result(found, rows)


def _audit_row(entry: AuditEntry) -> list[str]:
    outcome = f"{entry.status} {entry.problem}" if entry.problem else str(entry.status)
    return [time(entry.at), entry.actor, entry.role, entry.address, entry.action, entry.target or "-", outcome]


@remote_command
def metrics() -> None:
    """Print all metrics in the Prometheus text format, e.g. for the textfile collector if only the Unix socket is open.

    `icws status --json` has the main counters for other programs.
    """
    if wants_json():
        raise click.UsageError("metrics have no JSON form; `icws status --json` has the main counters")
    echo(client().text("/metrics"), nl=False)


@remote_command
@click.argument("level", type=click.Choice(get_args(LogLevel)), required=False)
def log(level: LogLevel | None) -> None:
    """Show the log level, or set it until log.level changes or the gateway restarts."""
    api = client()
    if level is None:
        found = api.get(Log, path_to("log"))
    else:
        found = api.ask(Log, "PUT", path_to("log"), body=Log(level=level))
    print_result(found, [found.level])
