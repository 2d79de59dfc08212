"""``icws tokens``: who may use the API over TCP."""

import secrets
from collections.abc import Sequence
from typing import get_args

import click

from appliance.cli.output.terminal import Column, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_group, request
from appliance.control.client import path_to
from appliance.control.models import AddTokenRequest, NewToken, Role, Token, Tokens

_ROLES: tuple[Role, ...] = get_args(Role)


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
@click.argument("words", metavar="[NAME] ROLE", nargs=-1, required=True)
@click.option("--name", help="Name of the holder, if it does not stand before the role; random by default.")
def new(words: tuple[str, ...], *, name: str | None) -> None:
    """Create a token and its line for the token file, without a gateway. ROLE is viewer, operator or admin.

    Add the line to the file that control.tokens names: this command writes no file and calls no gateway.
    """
    from appliance.control.auth.tokens import PREFIX, Grant, hash_token  # noqa: PLC0415 - of no use to the others

    *names, last = words
    role = _role(last, names)
    if len(names) + (name is not None) > 1:
        raise click.UsageError("give one name: icws tokens new NAME ROLE")
    name = name or next(iter(names), f"{role}-{secrets.token_hex(3)}")
    body = request(AddTokenRequest, name=name, role=role)
    token = PREFIX + secrets.token_urlsafe(32)
    line = str(Grant(body.name, body.role, hash_token(token)))
    result = {"name": body.name, "role": body.role, "token": token, "line": line}
    print_result(result, [f"token (shown once):    {token}", f"line for the file:     {line}"])


@tokens.command()
@click.argument("name")
@click.argument("role")
def add(name: str, role: str) -> None:
    """Create a token for NAME at the running gateway. ROLE is viewer, operator or admin.

    The gateway adds it to its token file, and the token is valid at once.
    """
    body = request(AddTokenRequest, name=name, role=_role(role, [name]))
    created = client().post(NewToken, path_to("tokens"), body)
    print_result(created, [f"token of {created.name}, {created.role} (shown once): {created.token}"])


def _role(word: str, names: Sequence[str]) -> Role:
    """The role of this name. Raises UsageError, which knows the other order too."""
    for role in _ROLES:
        if word == role:
            return role
    if any(name in _ROLES for name in names):
        raise click.UsageError(f"the role stands last: NAME ROLE, here {word} {names[0]}")
    raise click.UsageError(f"{word!r} is no role; write {', '.join(_ROLES[:-1])} or {_ROLES[-1]}")


@tokens.command()
@click.argument("name")
def remove(name: str) -> None:
    """Revoke the token of NAME at once."""
    revoked = client().ask(Token, "DELETE", path_to("tokens", name))
    print_result(revoked, [f"revoked the token of {revoked.name} ({revoked.role})"])
