"""``icws --version``, and with ``--verbose`` what it runs on."""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

import click

from appliance.installation import installation
from appliance.printable import printable


def print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version and end, as the option ``--version`` does."""
    if not wanted or context.resilient_parsing:
        return
    click.echo(printable(f"icws, version {metadata.version('icws')}"))
    if context.params.get("verbose"):
        for name, value in facts():
            click.echo(printable(f"{name + ':':<16}{value}"))
    context.exit()


def facts() -> Iterator[tuple[str, str]]:
    """What a stranger has to know to explain how this gateway behaves, as pairs of name and value."""
    from appliance.crypto import core_version  # noqa: PLC0415 - the native core takes its time to load
    from appliance.protocol.generations import SESSIONS  # noqa: PLC0415

    yield "native core", core_version()
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"
    yield "generations", ", ".join(SESSIONS)
    yield "installed by", str(installation())
    yield "machine", f"{platform.machine()}, {' '.join(platform.libc_ver()) or platform.system()}"
