"""``icws tokens``: who may use the API over TCP."""

import secrets
from typing import get_args

import click

from appliance.cli.output.terminal import Column, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_group, request
from appliance.control.client import path_to
from appliance.control.models import AddTokenRequest, NewToken, Role, Token, Tokens

_ROLE = click.argument("role", type=click.Choice(get_args(Role)))


@remote_group
@click.pass_context
def tokens(context: click.Context) -> None:
    """List, create or remove API tokens.

    A token is shown once; the gateway stores only its SHA-256. A viewer reads, an operator also closes, drains and
    pauses, an admin also changes the configuration and the tokens.
    """
    if context.invoked_subcommand is None:
        found = client().get(Tokens, path_to("tokens"))
        rows = [[token.name, token.role] for token in found.items]
        lines = table([Column("NAME"), Column("ROLE")], rows, max_width=terminal_width()) if rows else ["no tokens"]
        print_result(found, lines)


@tokens.command()
@_ROLE
@click.option("--name", help="Name of the holder; random by default.")
def new(role: Role, *, name: str | None) -> None:
    """Create a token and its line for the token file, without a gateway.

    Add the line to the file that control.tokens names: this command writes no file and calls no gateway.
    """
    from appliance.control.auth.tokens import PREFIX, Grant, hash_token  # noqa: PLC0415 - of no use to the others

    body = request(AddTokenRequest, name=name or f"{role}-{secrets.token_hex(3)}", role=role)
    token = PREFIX + secrets.token_urlsafe(32)
    line = str(Grant(body.name, body.role, hash_token(token)))
    result = {"name": body.name, "role": body.role, "token": token, "line": line}
    print_result(result, [f"token (shown once):    {token}", f"line for the file:     {line}"])


@tokens.command()
@click.argument("name")
@_ROLE
def add(name: str, role: Role) -> None:
    """Create a token for NAME at the running gateway.

    The gateway adds it to its token file, and the token is valid at once.
    """
    created = client().post(NewToken, path_to("tokens"), request(AddTokenRequest, name=name, role=role))
    print_result(created, [f"token of {created.name}, {created.role} (shown once): {created.token}"])


@tokens.command()
@click.argument("name")
def remove(name: str) -> None:
    """Revoke the token of NAME at once."""
    revoked = client().ask(Token, "DELETE", path_to("tokens", name))
    print_result(revoked, [f"revoked the token of {revoked.name} ({revoked.role})"])
