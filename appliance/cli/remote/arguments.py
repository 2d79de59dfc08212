"""Types of options and arguments that several commands share, and shell completion from the running gateway."""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.remote.api_options import place
from appliance.config.units import parse_duration, parse_rate
from appliance.control.client import Client, path_to
from appliance.control.models import Canisters, History, Sessions
from appliance.errors import GatewayError


class _Parsed(click.ParamType[Any]):
    """What one of our parsers reads."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click wants it."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (ValueError, GatewayError) as error:
            self.fail(str(error), param, ctx)


DURATION = _Parsed("duration", parse_duration)
"""Seconds, written as ``60s``."""
RATE = _Parsed("rate", parse_rate)
"""Per second, written as ``100/s``."""


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
complete_revision = _from_gateway(_generations)
"""Generations of the configuration."""
