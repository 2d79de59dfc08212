"""``icws status``: the gateway at a glance."""

from collections.abc import Iterator

import click

from appliance.cli.output.formatting import ago, counted, duration, number, time
from appliance.cli.output.terminal import coloured, field_lines, print_result, terminal_width, wrapped
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Health, Hop, Stats, Status

_HEADLINES = (
    ("messages up", "relayed"),
    ("messages down", "delivered"),
    ("polls", "polls"),
)
"""Counters that everybody wants to see, with what they are called here."""


@remote_command
@click.option("--ready", is_flag=True, help="Exit code 1 unless clients may be sent here, for health checks.")
def status(*, ready: bool) -> None:
    """Show whether the gateway is well, what it serves and what runs."""
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
        mark = click.style("✓", fg="green") if check.ok else click.style("✗", fg="red")
        first, *rest = wrapped(check.detail, None if max_width is None else max_width - 22)
        yield f"  {mark} {check.name:<16}  {first}".rstrip()
        yield from (f"{'':22}{line}" for line in rest)
    if any(hop.count for hop in stats.hops):
        yield ""
        yield from _hops(stats.hops)


def _pairs(state: Status, stats: Stats) -> Iterator[tuple[str, str]]:
    mood = "stopping" if state.stopping else "draining" if state.draining else ""
    yield "gateway", f"icws {state.version}, up {duration(state.uptime_s)}{f', {mood}' if mood else ''}"
    yield "principal", state.gateway_principal
    yield "clients at", ", ".join(state.urls or [state.url])
    departing = f", {counted(state.departing, 'client')} departing" if state.departing else ""
    sessions, connections = counted(state.sessions, "open session"), counted(state.connections, "connection")
    yield "now", f"{sessions} on {connections}{departing}; {counted(state.canisters, 'canister')} listed"
    known = [(words, stats.counters[name]) for words, name in _HEADLINES if name in stats.counters]
    if known:
        yield "so far", ", ".join(f"{number(count)} {words}" for words, count in known)
    file = state.config_file or "no file"
    yield "configuration", f"generation {state.generation} ({state.config_hash[:12]}) of {file}"
    if state.differs_from_file:
        yield "", "the file says something else than what runs; `icws plan` shows what"
    if state.confirm_by is not None:
        yield "", f"rolled back {ago(state.confirm_by)} unless confirmed (`icws confirm`)"
    last = state.last_reload
    yield "last reload", f"{last.result} {ago(last.at)} ({time(last.at)} UTC), by {last.actor} ({last.trigger})"
    if last.problem:
        yield "", last.problem


def _hops(hops: list[Hop]) -> Iterator[str]:
    yield f"{'latency':<30}{'count':>10}{'p50':>9}{'p90':>9}{'p99':>9}"
    for hop in hops:
        if hop.count:
            marks = "".join(f"{duration(value):>9}" for value in (hop.p50_s, hop.p90_s, hop.p99_s))
            yield f"  {hop.name.replace('_', ' '):<28}{number(hop.count):>10}{marks}"
