"""``icws confirm``: keep what was applied on trial."""

import click

from appliance.cli.configure.reload import applied_lines
from appliance.cli.output.printing import tell
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Applied, ConfirmRequest


@remote_command
@click.option("--save", is_flag=True, help="Write it to the gateway's file, too.")
def confirm(*, save: bool) -> None:
    """Keep the configuration that `icws reload --confirm-within` applied; otherwise it is rolled back."""
    applied = client().post(Applied, path_to("config", "confirm"), ConfirmRequest(save=save))
    tell(applied, applied_lines(applied))
