"""``icws audit``: who has changed what."""

import click

from appliance.cli.output.formatting import time
from appliance.cli.output.printing import tell
from appliance.cli.output.table import Column, table, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Audit, AuditEntry

_COLUMNS = [
    Column("AT (UTC)"),
    Column("BY", least=10),
    Column("ROLE", rank=3),
    Column("FROM", least=7, cut="middle", rank=2),
    Column("DID", least=8),
    Column("TO", least=8, cut="middle"),
    Column("ANSWER", least=3),
]


@remote_command
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
def audit(limit: int) -> None:
    """List who has tried to change something, the newest first; --json has what it was before and after."""
    found = client().get(Audit, path_to("audit"), limit=limit)
    rows = (
        table(_COLUMNS, map(_row, found.items), room=width())
        if found.items
        else ["nobody has tried to change anything"]
    )
    tell(found, rows)


def _row(entry: AuditEntry) -> list[str]:
    answer = f"{entry.status} {entry.problem}" if entry.problem else str(entry.status)
    return [time(entry.at), entry.actor, entry.role, entry.address, entry.action, entry.target or "-", answer]
