"""Types of options and arguments that several commands share, and shell completion from the running gateway."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from appliance.cli.remote.api_options import api_address
from appliance.config.fields.units import format_duration, parse_duration, parse_rate
from appliance.control.client import Client, path_to
from appliance.control.models import Canisters, History, MissingNode, Nodes, Sessions
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

Function = TypeVar("Function", bound=Callable[..., Any])

COMPLETION_TIMEOUT_S = 1.0
"""Completion runs at every press of Tab: late proposals are worse than none."""
MAX_COMPLETED_SESSIONS = 200
EVERY_NODE = "*"
"""What the API calls all nodes of a cluster; a gateway without one is its only node."""
MAX_AGE_S = 36_500 * 86_400.0
"""Of a certificate, in options: a hundred years. Times of the IC end in the year 2554, as nanoseconds in 64 bits."""


class _Parsed(click.ParamType[Any]):
    """A parameter that one of our parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text. Click calls this with parsed values too, which pass unchanged."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (ValueError, GatewayError) as error:
            self.fail(str(error), param, ctx)


def _parse_age(text: str) -> float:
    age_s = parse_duration(text)
    if age_s > MAX_AGE_S:
        raise ValueError(f"{text} is more than {format_duration(MAX_AGE_S)}, the longest age that can be checked")
    return age_s


DURATION = _Parsed("duration", parse_duration)
"""Seconds, written as ``60s``."""
AGE = _Parsed("duration", _parse_age)
"""The same, for a certificate."""
RATE = _Parsed("rate", parse_rate)
"""Per second, written as ``100/s``."""
PRINCIPAL = _Parsed("principal", Principal.from_text)


def _completed_from_api(
    fetch: Callable[[Client], Iterable[CompletionItem]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            with context.scope(cleanup=False):
                items = list(fetch(Client(api_address().url, timeout_s=COMPLETION_TIMEOUT_S)))
        except (GatewayError, click.ClickException):
            return []
        return [item for item in items if str(item.value).startswith(incomplete)]

    return complete


def _canisters(client: Client) -> Iterable[CompletionItem]:
    for canister in client.get(Canisters, path_to("canisters")).items:
        yield CompletionItem(canister.name or canister.id, help=canister.state)


def _sessions(client: Client) -> Iterable[CompletionItem]:
    for session in client.get(Sessions, path_to("sessions"), limit=MAX_COMPLETED_SESSIONS, node=EVERY_NODE).items:
        where = session.canister_name or session.canister or session.address
        yield CompletionItem(session.id, help=f"{session.state}, {where}")


def _nodes(client: Client) -> Iterable[CompletionItem]:
    for node in client.get(Nodes, path_to("nodes")).items:
        yield CompletionItem(node.name, help=f"{node.state}, {node.host}")


def _revisions(client: Client) -> Iterable[CompletionItem]:
    for entry in client.get(History, path_to("config", "history")).items:
        yield CompletionItem(str(entry.generation), help=entry.state)


complete_canister = _completed_from_api(_canisters)
"""Names of canisters, ids of those without a name."""
complete_session = _completed_from_api(_sessions)
"""Ids of sessions."""
complete_node = _completed_from_api(_nodes)
"""Names of the nodes of the cluster."""
complete_revision = _completed_from_api(_revisions)
"""Numbers of revisions in the configuration history."""


node_option = click.option(
    "--node", metavar="NODE", shell_complete=complete_node, help="Ask this node of the cluster instead."
)
"""Adds ``--node`` to a command of one node."""


def nodes_option(function: Function) -> Function:
    """Add ``--node`` and ``--this-node`` to a command that asks all nodes. It gets ``node``, as the API has it."""

    @click.option(
        "--node", "named", metavar="NODE", shell_complete=complete_node, help="Only this node of the cluster."
    )
    @click.option("--this-node", is_flag=True, help="Only the node that is asked.")
    @wraps(function)
    def chosen(*arguments: Any, named: str | None, this_node: bool, **options: Any) -> Any:
        if named is not None and this_node:
            raise click.UsageError("--node and --this-node exclude each other, give one")
        return function(*arguments, node=None if this_node else named or EVERY_NODE, **options)

    return cast("Function", chosen)


def missing_lines(missing: Iterable[MissingNode], what: str) -> Iterator[str]:
    """A line for each node that said nothing of ``what``."""
    for each in missing:
        who = "the other nodes" if each.node is None else f"node {each.node}"
        yield f"without {what} of {who}: {each.problem}"
