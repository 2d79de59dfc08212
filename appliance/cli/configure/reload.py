"""``icws reload``: run the configuration that the file has now."""

from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.output.changes import change_lines, confirm_line, waiting_lines
from appliance.cli.output.printing import tell
from appliance.cli.output.table import coloured, width
from appliance.cli.remote.api_options import client, remote_command, request
from appliance.cli.remote.config_source import called, text_of
from appliance.cli.remote.options import DURATION
from appliance.control.client import path_to
from appliance.control.models import Applied, ApplyRequest


@remote_command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--confirm-within", type=DURATION, help="Roll back by itself unless `icws confirm` comes in this time, e.g. 60s."
)
@click.option("--keep-if-healthy", is_flag=True, help="Confirm it by itself then if nothing is wrong.")
@click.option("--allow-restart", is_flag=True, help="Apply the rest where some keys need a restart; those wait for it.")
@click.option("--force", is_flag=True, help="Also where every canister would go while sessions are open.")
@click.option("--save", is_flag=True, help="Write FILE over the gateway's own file, too.")
@click.option("--if-match", metavar="ETAG", help="Only if it still runs (`icws config show --running`).")
def reload(
    file: Path | None,
    *,
    confirm_within: float | None,
    keep_if_healthy: bool,
    allow_restart: bool,
    force: bool,
    save: bool,
    if_match: str | None,
) -> None:
    """Run the configuration that the gateway's file has now, without dropping a socket that the change does not name.

    With FILE (- is standard input) that text is run instead, until the next reload or restart unless --save is given.
    All of it is applied or nothing. Exit code 1: it is refused, and what ran runs on; 78: it cannot be used, and every
    fault is named with place and key.
    """
    if keep_if_healthy and confirm_within is None:
        raise click.UsageError("--keep-if-healthy goes with --confirm-within")
    if save and file is None:
        raise click.UsageError("--save goes with FILE: the gateway's own file is what it is")
    body = request(
        ApplyRequest,
        text=text_of(file),
        confirm_within_s=confirm_within,
        keep_if_healthy=keep_if_healthy,
        allow_restart=allow_restart,
        force=force,
        save=save,
    )
    with called(file):
        applied = client().post(Applied, path_to("config", "apply"), body, if_match=if_match)
    tell(applied, applied_lines(applied))


def applied_lines(applied: Applied) -> Iterator[str]:
    """What runs now, and what there is to do."""
    if applied.result == "unchanged":
        yield f"nothing changes, generation {applied.generation} runs on"
    else:
        if applied.changes:
            yield from change_lines(applied.changes, room=width())
        yield f"{coloured(applied.result)}: generation {applied.generation} runs"
    yield from waiting_lines(applied.pending_restart)
    yield from confirm_line(applied.confirm_by)
    if applied.differs_from_file:
        yield "the file says something else than what runs: the next reload or start goes by the file"
