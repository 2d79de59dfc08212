"""``icws tokens``: who may use the API over TCP."""

import secrets
from typing import get_args

import click

from appliance.cli.output.printing import tell
from appliance.cli.output.table import Column, table, width
from appliance.cli.remote.api_options import client, remote_group, request
from appliance.control.client import path_to
from appliance.control.models import AddTokenRequest, NewToken, Role, Token, Tokens

_ROLE = click.argument("role", type=click.Choice(get_args(Role)))


@remote_group
@click.pass_context
def tokens(context: click.Context) -> None:
    """List the tokens, or make and end them.

    A token is shown once; the gateway keeps its SHA-256 only. A viewer looks, an operator also closes, drains and
    pauses, an admin also changes the configuration and the tokens.
    """
    if context.invoked_subcommand is None:
        found = client().get(Tokens, path_to("tokens"))
        rows = [[token.name, token.role] for token in found.items]
        lines = table([Column("NAME"), Column("ROLE")], rows, room=width()) if rows else ["there is no token"]
        tell(found, lines)


@tokens.command()
@_ROLE
@click.option("--name", help="Who is to hold it; a random name without it.")
def new(role: Role, *, name: str | None) -> None:
    """Make a token without a gateway, and its line.

    The line goes into the file that control.tokens names; nothing is written here, and no gateway is asked.
    """
    from appliance.control.auth.tokens import PREFIX, Grant, hash_token  # noqa: PLC0415 - of no use to the others

    body = request(AddTokenRequest, name=name or f"{role}-{secrets.token_hex(3)}", role=role)
    token = PREFIX + secrets.token_urlsafe(32)
    line = str(Grant(body.name, body.role, hash_token(token)))
    answer = {"name": body.name, "role": body.role, "token": token, "line": line}
    tell(answer, [f"token (shown once):    {token}", f"line for the file:     {line}"])


@tokens.command()
@click.argument("name")
@_ROLE
def add(name: str, role: Role) -> None:
    """Make a token for NAME at the running gateway.

    It writes the line to its file of tokens, and the token is good at once.
    """
    made = client().post(NewToken, path_to("tokens"), request(AddTokenRequest, name=name, role=role))
    tell(made, [f"token of {made.name}, {made.role} (shown once): {made.token}"])


@tokens.command()
@click.argument("name")
def remove(name: str) -> None:
    """End the token of NAME at once."""
    gone = client().ask(Token, "DELETE", path_to("tokens", name))
    tell(gone, [f"the token of {gone.name}, {gone.role}, is none any more"])
