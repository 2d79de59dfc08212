"""``icws plan``: what a reload would change, before anything does."""

from pathlib import Path

import click

from appliance.cli.exits import EXIT_CONFIG
from appliance.cli.output.changes import change_lines
from appliance.cli.output.printing import tell
from appliance.cli.output.table import width
from appliance.cli.remote.api_options import client, explained, remote_command
from appliance.cli.remote.config_source import called, renamed, text_of
from appliance.control.client import error_of, path_to
from appliance.control.models import Plan, PlanRequest
from appliance.errors import ConfigError


@remote_command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
def plan(file: Path | None) -> None:
    """Show what `icws reload` would change, key by key, and how many sessions it would touch. Nothing is applied.

    With FILE (- is standard input) that text is looked at as if it were in the gateway's own file. Exit code 0: it
    could be applied; 1: it would be refused, as some keys need a restart; 78: it cannot be used.
    """
    asked = client()
    with called(file):
        found = asked.post(Plan, path_to("config", "plan"), PlanRequest(text=text_of(file)))
    tell(found, change_lines(found.changes, room=width()))
    if found.refused is not None:
        error = error_of(renamed(found.refused, file), asked.url)
        click.echo(explained(error), err=True)
        raise SystemExit(EXIT_CONFIG if isinstance(error, ConfigError) else 1)
