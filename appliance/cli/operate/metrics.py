"""``icws metrics``: what is measured."""

import click

from appliance.cli.remote.api_options import client, remote_command, wants_json


@remote_command
def metrics() -> None:
    """Print all metrics as Prometheus reads them, e.g. for the text file collector where only the Unix socket is open.

    `icws status --json` has the most important ones for other programs.
    """
    if wants_json():
        raise click.UsageError("metrics are text for Prometheus; icws status --json has counters in JSON")
    click.echo(client().text("/metrics"), nl=False)
