"""``icws rollback``: run a configuration of before again."""

import click

from appliance.cli.configure.reload import applied_lines
from appliance.cli.output.printing import tell
from appliance.cli.remote.api_options import client, remote_command
from appliance.cli.remote.completing import complete_generation
from appliance.control.client import path_to
from appliance.control.models import Applied, RollbackRequest


@remote_command
@click.argument("generation", type=click.IntRange(1), required=False, shell_complete=complete_generation)
def rollback(generation: int | None) -> None:
    """Run an earlier configuration again: GENERATION of `icws history`, or the last good one before this.

    The file stays as it is, so that the next reload or start would go by it.
    """
    applied = client().post(Applied, path_to("config", "rollback"), RollbackRequest(generation=generation))
    tell(applied, applied_lines(applied))
