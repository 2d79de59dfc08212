"""``icws run``: the gateway, until SIGTERM or an interrupt."""

import asyncio
import os
from pathlib import Path

import click

from appliance.cli import loop
from appliance.cli.exit_codes import EXIT_HANDED_ON
from appliance.config.source import Source, start
from appliance.core_dumps import forbid_core_dumps
from appliance.log import Logging
from appliance.process import run as serve


@click.command()
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default="gateway.yaml",
    envvar="ICWS_CONFIG",
    show_default=True,
    show_envvar=True,
    help="Configuration file.",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key, e.g. polling.max_interval=2s. Repeatable.",
)
@click.option("--watch", is_flag=True, help="Reload when the file, or one that it names, has been written.")
def run(file: Path, settings: tuple[str, ...], *, watch: bool) -> None:
    """Run the gateway until SIGTERM or an interrupt.

    The environment (ICWS_SECTION__KEY) overrides the file, --set overrides both. Exit code 78: the configuration is
    invalid; 75: it ends after SIGUSR2, and the service manager starts the next one.
    """
    forbid_core_dumps()
    # ICWS_CONFIG names the file: as a setting it would be an unknown key.
    environment = {name: value for name, value in os.environ.items() if name != "ICWS_CONFIG"}
    begun = start(Source(file, environment, (*settings, "watch=true") if watch else settings))
    try:
        if loop.run(serve(begun, Logging(begun.loaded.config.log))):
            raise SystemExit(EXIT_HANDED_ON)
    except asyncio.CancelledError:  # a second signal ends the gateway while it still stops
        raise click.Abort from None
