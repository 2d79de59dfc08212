"""``icws identity``: the gateway's signing key. Secret parts are never printed."""

from pathlib import Path

import click

from appliance.cli.groups import HelpfulGroup
from appliance.cli.output.terminal import echo, print_result
from appliance.cli.remote.api_options import json_option
from appliance.config.schema import Gateway
from appliance.ic.identity import KeyIdentity, Scheme
from appliance.ic.key_file import create_identity, identity_file_problem, load_identity, save_identity

_FILE = click.argument("file", type=click.Path(path_type=Path), default=Gateway().identity)


@click.group(cls=HelpfulGroup)
def identity() -> None:
    """Create, show or import the gateway's key.

    FILE is data/identity.pem by default, as in the configuration.
    """


@identity.command()
@_FILE
@click.option(
    "--scheme",
    type=click.Choice(["ed25519", "secp256k1", "prime256v1"]),
    default="ed25519",
    show_default=True,
    help="Signature scheme of the key.",
)
@json_option
def new(file: Path, scheme: Scheme) -> None:
    """Create a key in FILE, which must not exist."""
    created = create_identity(file, scheme=scheme)
    echo(f"created {file}; keep it secret and back it up: whoever has it can act as this gateway", err=True)
    _show(created)


@identity.command()
@_FILE
@json_option
def show(file: Path) -> None:
    """Show the principal and the public key in FILE."""
    _show(load_identity(file))
    problem = identity_file_problem(file)
    if problem:
        echo(f"warning: {problem}", err=True)


@identity.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@_FILE
@json_option
def import_(source: Path, file: Path) -> None:
    """Copy the key in SOURCE to FILE, which must not exist.

    SOURCE is a PEM file of dfx, icp or openssl, or the key_pair file of the reference gateway. The principal stays the
    same.
    """
    imported = load_identity(source)
    save_identity(imported, file)
    echo(f"created {file}; {source} is unchanged", err=True)
    _show(imported)


def _show(shown: KeyIdentity) -> None:
    # The reference gateway prints the first line in these words, and scripts search for it.
    lines = [
        f"Gateway Agent principal: {shown.principal}",
        f"scheme: {shown.scheme}",
        f"public key (DER): {shown.public_key.hex()}",
    ]
    print_result(
        {"principal": str(shown.principal), "scheme": shown.scheme, "public_key": shown.public_key.hex()}, lines
    )
