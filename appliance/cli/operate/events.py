"""``icws events`` and ``icws explain``: what happens in the gateway, and what happened in one session."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, get_args

import click

from appliance.cli.output.changes import flow_style
from appliance.cli.output.formatting import clock, counted, duration, time
from appliance.cli.output.terminal import field_lines, json_text, print_result, terminal_width, truncated, wrapped
from appliance.cli.remote.api_options import client, remote_command, wants_json
from appliance.cli.remote.arguments import complete_session
from appliance.control.client import path_to
from appliance.control.models import Event, EventKind, Moment, Story

_INDENT = 30
_CLIENT = 20
"""Characters shown of a client id."""

Facts = Mapping[str, Any]


@remote_command
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(get_args(EventKind)),
    metavar="KIND",
    multiple=True,
    help=f"Only events of this kind, repeatable: {', '.join(get_args(EventKind))}.",
)
@click.option("--after", type=click.IntRange(0), metavar="ID", help="Start with the events after this one.")
@click.option("--facts", "with_facts", is_flag=True, help="Show all facts of each event.")
def events(kinds: tuple[str, ...], after: int | None, *, with_facts: bool) -> None:
    """Print events until interrupted: sessions, reloads, drains, canisters, rate limits, and changes by people.

    With --json, prints one event on each line. Times are UTC. Exit code 0: the gateway has stopped.
    """
    for event in client().events(list(kinds) or None, after):
        if wants_json():
            click.echo(json_text(event, compact=True))
        else:
            click.echo("\n".join(_event_lines(event, terminal_width(), with_facts=with_facts)))


def _event_lines(event: Event, max_width: int | None, *, with_facts: bool) -> list[str]:
    known = {name: value for name, value in event.data.items() if value is not None}
    below = None if max_width is None else max_width - _INDENT
    first, *rest = wrapped(_sentence(event.kind, known), below)
    lines = [f"{clock(event.at)}  {click.style(f'{event.kind:<14}', bold=True)}  {first}"]
    lines += [f"{'':{_INDENT}}{line}" for line in rest]
    if with_facts:
        lines += [f"{'':{_INDENT}}{click.style(line, dim=True)}" for line in wrapped(flow_style(known), below)]
    return lines


def _sentence(kind: str, facts: Facts) -> str:
    """Return the sentence of an event.

    A gateway of another version may send other kinds and facts: those are printed as they are.
    """
    sentence = _SENTENCES.get(kind)
    if sentence is not None:
        with suppress(KeyError, TypeError, ValueError):
            return sentence(facts)
    return flow_style(facts)


def _session(facts: Facts) -> str:
    client_ = facts.get("client")
    named = f" of {truncated(client_, _CLIENT, 'middle')}" if client_ else ""
    where = f" with {facts['canister']}" if facts.get("canister") else ""
    return f"{facts['session']}{named}{where}, from {facts['address']}"


def _closed(facts: Facts) -> str:
    cause = f" ({facts['cause']})" if facts.get("cause") else ""
    return f"{facts.get('code', 'no code')}{cause}: {_session(facts)}"


def _reload(facts: Facts) -> str:
    problem = f": {facts['problem']}" if facts.get("problem") else ""
    until = f"; on trial until {facts['confirm_by']}" if facts.get("confirm_by") else ""
    what = f"revision {facts['generation']}, {counted(facts['changes'], 'change')}"
    return f"{facts['result']}, {what}, by {facts['actor']} ({facts['trigger']}){until}{problem}"


def _drain(facts: Facts) -> str:
    whose = f" of canister {facts['canister']}" if facts.get("canister") else ""
    eta = f", {duration(facts['eta_s'])} left" if facts.get("eta_s") else ""
    return f"{facts['state']}{whose}: {facts['closed']} closed of {facts['total']}{eta}"


def _canister(facts: Facts) -> str:
    cause = f": {facts['cause']}" if facts.get("cause") else ""
    return f"{facts['canister']} is {facts['state']}{cause}"


def _audit(facts: Facts) -> str:
    target = f" {facts['target']}" if facts.get("target") else ""
    problem = f" {facts['problem']}" if facts.get("problem") else ""
    return f"{facts['actor']} ({facts['role']}): {facts['action']}{target}, answered {facts['status']}{problem}"


def _lost(facts: Facts) -> str:
    return f"{counted(facts['events'], 'event')} came too fast and were dropped"


_SENTENCES: Mapping[str, Callable[[Facts], str]] = {
    "session.opened": _session,
    "session.closed": _closed,
    "reload": _reload,
    "drain": _drain,
    "canister.state": _canister,
    "audit": _audit,
    "lost": _lost,
}


@remote_command
@click.argument("session", shell_complete=complete_session)
@click.option("--facts", "with_facts", is_flag=True, help="Show the facts behind each sentence.")
def explain(session: str, *, with_facts: bool) -> None:
    """Explain what happened in SESSION, also after it was closed, for as long as the gateway remembers it.

    Contents of messages are never recorded. Times are UTC; the second column is the time since the line before.
    """
    story = client().get(Story, path_to("sessions", session, "story"))
    print_result(story, _story_lines(story, with_facts=with_facts))


def _story_lines(story: Story, *, with_facts: bool) -> Iterator[str]:
    max_width = terminal_width()
    yield from field_lines(_story_fields(story), max_width=max_width)
    if story.dropped:
        yield f"({counted(story.dropped, 'older moment')} dropped)"
    before: datetime | None = None
    for moment in story.moments:
        yield from _moment_lines(moment, before, max_width, with_facts=with_facts)
        before = moment.at


def _moment_lines(moment: Moment, before: datetime | None, max_width: int | None, *, with_facts: bool) -> Iterator[str]:
    since = "" if before is None else f"+{duration(max(0.0, (moment.at - before).total_seconds()))}"
    first, *rest = wrapped(moment.sentence, None if max_width is None else max_width - 24)
    yield f"{clock(moment.at)}  {click.style(f'{since:>8}', dim=True)}  {first}"
    yield from (f"{'':24}{line}" for line in rest)
    if with_facts and moment.facts:
        for line in wrapped(f"{moment.kind} {flow_style(moment.facts)}", None if max_width is None else max_width - 24):
            yield f"{'':24}{click.style(line, dim=True)}"


def _story_fields(story: Story) -> Iterator[tuple[str, str]]:
    yield "session", f"{story.session}, {'closed' if story.closed else 'connected'}"
    if story.moments:
        yield "since", f"{time(story.moments[0].at)} UTC"
    if story.address:
        yield "address", story.address
    if story.client:
        yield "client", story.client
    if story.canister:
        yield "canister", story.canister
