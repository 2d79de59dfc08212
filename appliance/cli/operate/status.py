"""``icws status``: an overview of the gateway."""

from collections.abc import Iterator

import click

from appliance.cli.output.formatting import ago, counted, duration, number, time
from appliance.cli.output.terminal import coloured, field_lines, print_result, styled, terminal_width, wrapped
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Health, Hop, Stats, Status

_OVERVIEW = (
    ("relayed", "message", " up"),
    ("delivered", "message", " down"),
    ("polls", "poll", ""),
)
"""Counters of the overview, each with its noun and what follows it."""
_CONTACT = {
    "joined": "joined",
    "away": "without contact to the engine: goes on alone",
    "refused": "refused: goes on alone",
}
"""The contact with the engine of a cluster."""


@remote_command
@click.option("--ready", is_flag=True, help="Exit code 1 unless the gateway is ready for clients, for health checks.")
def status(*, ready: bool) -> None:
    """Show the sessions, configuration and health of the gateway."""
    api = client()
    state = api.get(Status, path_to("status"))
    health = api.health("/readyz")
    stats = api.get(Stats, path_to("stats"))
    answer = {"status": state, "ready": health, "stats": stats}
    plain = {name: part.model_dump(mode="json") for name, part in answer.items()}
    print_result(plain, _lines(state, health, stats))
    if ready and health.status != "ok":
        raise SystemExit(1)


def _lines(state: Status, health: Health, stats: Stats) -> Iterator[str]:
    max_width = terminal_width()
    yield from field_lines(_pairs(state, stats), max_width=max_width)
    yield ""
    yield f"ready: {coloured('ok' if health.status == 'ok' else 'failing')}"
    for check in health.checks or []:
        mark = styled("✓", fg="green") if check.ok else styled("✗", fg="red")
        first, *rest = wrapped(check.detail, None if max_width is None else max_width - 22)
        yield f"  {mark} {check.name:<16}  {first}".rstrip()
        yield from (f"{'':22}{line}" for line in rest)
    if any(hop.count for hop in stats.hops):
        yield ""
        yield from _hops(stats.hops)


def _pairs(state: Status, stats: Stats) -> Iterator[tuple[str, str]]:
    phase = "stopping" if state.stopping else "draining" if state.draining else ""
    yield "gateway", f"icws {state.version}, up {duration(state.uptime_s)}{f', {phase}' if phase else ''}"
    yield "principal", state.gateway_principal
    if state.cluster is not None:
        yield "cluster", f"{state.cluster}, node {state.node}, {_CONTACT[state.engine or 'away']}"
    yield "listening at", ", ".join(state.urls or [state.url])
    departing = f", {counted(state.departing, 'client')} departing" if state.departing else ""
    sessions, connections = counted(state.sessions, "open session"), counted(state.connections, "connection")
    yield "now", f"{sessions} on {connections}{departing}; {counted(state.canisters, 'canister')} listed"
    waiting = f", {number(state.calls_waiting)} waiting for room" if state.calls_waiting else ""
    yield "calls", f"{number(state.calls_under_way)} of at most {number(state.calls_limit)} under way{waiting}"
    known = [f"{counted(stats.counters[name], noun)}{way}" for name, noun, way in _OVERVIEW if name in stats.counters]
    if known:
        yield "so far", ", ".join(known)
    file = state.config_file or "no file"
    yield "configuration", f"revision {state.generation} ({state.config_hash[:12]}) of {file}"
    if state.differs_from_file:
        yield "", "the file differs from the active configuration; `icws plan` shows how"
    if state.confirm_by is not None:
        yield "", f"rolled back {ago(state.confirm_by)} unless confirmed (`icws confirm`)"
    last = state.last_reload
    yield "last reload", f"{last.result} {ago(last.at)} ({time(last.at)} UTC), by {last.actor} ({last.trigger})"
    if last.problem:
        yield "", last.problem
    for problem in state.problems:
        yield "problem", problem


def _hops(hops: list[Hop]) -> Iterator[str]:
    yield f"{'latency':<30}{'count':>10}{'p50':>9}{'p90':>9}{'p99':>9}"
    for hop in hops:
        if hop.count:
            marks = "".join(f"{duration(value):>9}" for value in (hop.p50_s, hop.p90_s, hop.p99_s))
            yield f"  {hop.name.replace('_', ' '):<28}{number(hop.count):>10}{marks}"
