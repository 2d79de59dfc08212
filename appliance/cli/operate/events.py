"""``icws events`` and ``icws explain``: what happens in the gateway, and what happened in one session."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_network
from typing import Any, get_args

import click

from appliance.cli.operate.sessions import session_table
from appliance.cli.output.changes import flow_style
from appliance.cli.output.formatting import canister_label, clock, counted, duration, time
from appliance.cli.output.terminal import (
    echo,
    field_lines,
    json_text,
    print_result,
    styled,
    terminal_width,
    truncated,
    wrapped,
)
from appliance.cli.remote.api_options import client, remote_command, wants_json
from appliance.cli.remote.arguments import complete_session, missing_lines, nodes_option
from appliance.control.client import path_to
from appliance.control.models import Event, EventKind, Moment, Refusals, Sessions, Story

_INDENT = 34
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
            echo(json_text(event, compact=True))
        else:
            echo("\n".join(_event_lines(event, terminal_width(), with_facts=with_facts)))


def _event_lines(event: Event, max_width: int | None, *, with_facts: bool) -> list[str]:
    known = {name: value for name, value in event.data.items() if value is not None}
    below = None if max_width is None else max_width - _INDENT
    first, *rest = wrapped(_sentence(event.kind, known), below)
    lines = [f"{clock(event.at)}  {styled(f'{event.kind:<18}', bold=True)}  {first}"]
    lines += [f"{'':{_INDENT}}{line}" for line in rest]
    if with_facts:
        lines += [f"{'':{_INDENT}}{styled(line, dim=True)}" for line in wrapped(flow_style(known), below)]
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


def _label(facts: Facts) -> str:
    return canister_label(facts["canister"], facts.get("canister_name"))


def _refused(facts: Facts) -> str:
    page = f" by a page of {facts['origin']}" if facts.get("origin") else ""
    at = f" at {facts['path']}" if facts.get("path") else ""
    more = f"; {counted(facts['not_logged'], 'refusal')} before it were only counted" if facts.get("not_logged") else ""
    return f"{facts['address']}{page}{at}, {_outcome(facts.get('status'), facts.get('code'))}: {facts['cause']}{more}"


def _outcome(status: int | None, code: int | None) -> str:
    """Return how a refused connection was answered."""
    return f"HTTP {status}" if status else f"close code {code}" if code else "no answer"


def _session(facts: Facts) -> str:
    client_ = facts.get("client")
    named = f" of {truncated(client_, _CLIENT, 'middle')}" if client_ else ""
    where = f" with {_label(facts)}" if facts.get("canister") else ""
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
    whose = f" of canister {_label(facts)}" if facts.get("canister") else ""
    eta = f", {duration(facts['eta_s'])} left" if facts.get("eta_s") else ""
    return f"{facts['state']}{whose}: {facts['closed']} closed of {facts['total']}{eta}"


def _canister(facts: Facts) -> str:
    cause = f": {facts['cause']}" if facts.get("cause") else ""
    return f"{_label(facts)} is {facts['state']}{cause}"


def _given_up(facts: Facts) -> str:
    return f"node {facts['node']} is given up: its canisters are told of {counted(facts['clients'], 'client')}"


def _audit(facts: Facts) -> str:
    target = f" {facts['target']}" if facts.get("target") else ""
    problem = f" {facts['problem']}" if facts.get("problem") else ""
    return f"{facts['actor']} ({facts['role']}): {facts['action']}{target}, answered {facts['status']}{problem}"


def _lost(facts: Facts) -> str:
    return f"dropped before they could be read: {counted(facts['events'], 'event')}"


_SENTENCES: Mapping[str, Callable[[Facts], str]] = {
    "session.opened": _session,
    "session.closed": _closed,
    "connection.refused": _refused,
    "reload": _reload,
    "drain": _drain,
    "canister.state": _canister,
    "node.given_up": _given_up,
    "audit": _audit,
    "lost": _lost,
}


@remote_command
@click.argument("session", metavar="SESSION|ADDRESS", shell_complete=complete_session)
@click.option("--facts", "with_facts", is_flag=True, help="Show the facts behind each sentence.")
@nodes_option
def explain(session: str, *, with_facts: bool, node: str | None) -> None:
    """Explain what happened in SESSION, also after it was closed, for as long as the gateway remembers it.

    With an IP address, a network or `unix`, show the connections from there that were refused lately, and the sessions.
    Contents of messages are never recorded. Times are UTC; the second column is the time since the line before.
    """
    if _is_address(session):
        _explain_address(session, node)
        return
    story = client().get(Story, path_to("sessions", session, "story"), node=node)
    print_result(story, _story_lines(story, with_facts=with_facts))


def _is_address(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return text == "unix"
    return True


def _explain_address(address: str, node: str | None) -> None:
    refused = client().get(Refusals, path_to("refusals"), address=address, node=node)
    here = client().get(Sessions, path_to("sessions"), address=address, node=node)
    dumped = {"refusals": refused.model_dump(mode="json"), "sessions": here.model_dump(mode="json")}
    print_result({name: page["items"] for name, page in dumped.items()}, _address_lines(address, refused, here))


def _address_lines(address: str, refused: Refusals, here: Sessions) -> Iterator[str]:
    many = counted(len(refused.items), "refused connection")
    yield f"{many} from {address}" + (", the newest first" if refused.items else " lately")
    max_width = terminal_width()
    for refusal in refused.items:
        facts = refusal.model_dump()
        first, *rest = wrapped(_refused(facts), None if max_width is None else max_width - 23)
        yield f"{time(refusal.at)}  {first}"
        yield from (f"{'':21}{line}" for line in rest)
        yield f"{'':21}{styled(f'counted as {refusal.reason}; icws explain {refusal.session}', dim=True)}"
    if here.items:
        yield from session_table(here.items, max_width=max_width)
    yield counted(len(here.items), "session") + " connected from there"
    yield from missing_lines(here.missing, "those")


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
    yield f"{clock(moment.at)}  {styled(f'{since:>8}', dim=True)}  {first}"
    yield from (f"{'':24}{line}" for line in rest)
    if with_facts and moment.facts:
        for line in wrapped(f"{moment.kind} {flow_style(moment.facts)}", None if max_width is None else max_width - 24):
            yield f"{'':24}{styled(line, dim=True)}"


def _story_fields(story: Story) -> Iterator[tuple[str, str]]:
    is_over = story.closed or any(moment.kind == "turned_away" for moment in story.moments)
    yield "session", f"{story.session}, {'closed' if is_over else 'connected'}"
    if story.node is not None:
        yield "node", story.node
    if story.moments:
        yield "since", f"{time(story.moments[0].at)} UTC"
    if story.address:
        yield "address", story.address
    if story.client:
        yield "client", story.client
    if story.canister:
        yield "canister", canister_label(story.canister, story.canister_name)
