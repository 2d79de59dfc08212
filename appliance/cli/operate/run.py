"""``icws run``: the gateway, until SIGTERM or an interrupt."""

import asyncio
import os
from pathlib import Path

import click

from appliance.cli import loop
from appliance.cli.exit_codes import EXIT_HANDED_ON
from appliance.config.source import Source, Start, start
from appliance.core_dumps import forbid_core_dumps
from appliance.log import Logging
from appliance.process import run as serve
from appliance.threads import usable_cores
from appliance.worker.lifeline import Lifeline


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
@click.option(
    "--workers",
    metavar="NUMBER",
    help="Processes that serve clients, or `auto`: one for each core. Overrides gateway.workers.",
)
@click.option("--worker", "lifeline", type=int, hidden=True, help="Descriptor of the supervisor of this worker.")
@click.option("--watch", is_flag=True, help="Reload when the file, or one that it names, has been written.")
def run(file: Path, settings: tuple[str, ...], *, watch: bool, workers: str | None, lifeline: int | None) -> None:
    """Run the gateway until SIGTERM or an interrupt.

    The environment (ICWS_SECTION__KEY) overrides the file, --set overrides both. Exit code 78: the configuration is
    invalid; 75: it ends after SIGUSR2, and the service manager starts the next one.
    """
    forbid_core_dumps()
    # ICWS_CONFIG names the file: as a setting it would be an unknown key.
    environment = {name: value for name, value in os.environ.items() if name != "ICWS_CONFIG"}
    settings += ("watch=true",) * watch + ((f"gateway.workers={workers}",) if workers is not None else ())
    begun = start(Source(file, environment, settings))
    try:
        if lifeline is None and (count := _number_of(begun.loaded.config.gateway.workers)) > 1:
            raise SystemExit(_supervise(begun, file, settings, count))
        tether = None if lifeline is None else Lifeline.at(lifeline)
        logging = Logging(begun.loaded.config.log, worker=None if tether is None else tether.role.number)
        if loop.run(serve(begun, logging, tether)):
            raise SystemExit(EXIT_HANDED_ON)
    except asyncio.CancelledError:  # a second signal ends the gateway while it still stops
        raise click.Abort from None


def _number_of(workers: str) -> int:
    return usable_cores() if workers == "auto" else int(workers)


def _supervise(begun: Start, file: Path, settings: tuple[str, ...], count: int) -> int:
    """Run the workers. Returns the exit code."""
    from appliance.supervisor.serve import supervise  # noqa: PLC0415 - a worker needs none of it

    Logging(begun.loaded.config.log)
    command = ["--config", str(file.absolute()), *(part for each in settings for part in ("--set", each))]
    return loop.run(supervise(begun, command, count))
