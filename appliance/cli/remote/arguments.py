"""What the shell may propose for arguments, asked of the running gateway: quickly, or nothing."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from appliance.cli.remote.api_options import place
from appliance.control.client import Client, path_to
from appliance.control.models import Canisters, History, Sessions
from appliance.errors import GatewayError

PATIENCE_S = 1.0
MOST = 200


def _from_gateway(
    ask: Callable[[Client], Iterable[CompletionItem]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            with context.scope(cleanup=False):
                found = list(ask(Client(place().url, timeout_s=PATIENCE_S)))
        except (GatewayError, click.ClickException):
            return []
        return [item for item in found if str(item.value).startswith(begun)]

    return complete


def _canisters(client: Client) -> Iterable[CompletionItem]:
    for canister in client.get(Canisters, path_to("canisters")).items:
        yield CompletionItem(canister.name or canister.id, help=canister.state)


def _sessions(client: Client) -> Iterable[CompletionItem]:
    for session in client.get(Sessions, path_to("sessions"), limit=MOST).items:
        where = session.canister_name or session.canister or session.address
        yield CompletionItem(session.id, help=f"{session.state}, {where}")


def _generations(client: Client) -> Iterable[CompletionItem]:
    for entry in client.get(History, path_to("config", "history")).items:
        yield CompletionItem(str(entry.generation), help=entry.state)


complete_canister = _from_gateway(_canisters)
"""Names of canisters, ids where they have none."""
complete_session = _from_gateway(_sessions)
"""Ids of sessions."""
complete_generation = _from_gateway(_generations)
"""Generations of the configuration."""
