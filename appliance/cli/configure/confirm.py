"""``icws confirm``: keep what was applied on trial."""

import click

from appliance.cli.reload import applied_lines
from appliance.cli.remote import client, remote_command
from appliance.cli.telling import tell
from appliance.control.client import path_to
from appliance.control.models import Applied, ConfirmRequest


@remote_command
@click.option("--save", is_flag=True, help="Write it to the gateway's file, too.")
def confirm(*, save: bool) -> None:
    """Keep the configuration that `icws reload --confirm-within` applied; otherwise it is rolled back."""
    applied = client().post(Applied, path_to("config", "confirm"), ConfirmRequest(save=save))
    tell(applied, applied_lines(applied))
