"""``icws log``: how much is logged."""

from typing import get_args

import click

from appliance.cli.output.printing import tell
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Log, LogLevel


@remote_command
@click.argument("level", type=click.Choice(get_args(LogLevel)), required=False)
def log(level: LogLevel | None) -> None:
    """Show the least that is logged, or log LEVEL from now on, until log.level changes or the gateway restarts."""
    asked = client()
    if level is None:
        found = asked.get(Log, path_to("log"))
    else:
        found = asked.ask(Log, "PUT", path_to("log"), body=Log(level=level))
    tell(found, [found.level])
