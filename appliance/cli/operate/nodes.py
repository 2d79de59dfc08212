"""``icws nodes``: the nodes of the cluster."""

from appliance.cli.output.formatting import ago, duration, number
from appliance.cli.output.terminal import Column, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Node, Nodes

_COLUMNS = [
    Column("NODE", min_width=6),
    Column("STATE"),
    Column("SESSIONS", align="right"),
    Column("HEARTBEAT", align="right", drop_priority=1),
    Column("STARTED", drop_priority=2),
    Column("MACHINE", min_width=7, drop_priority=3),
    Column("PID", align="right", drop_priority=5),
    Column("VERSION", drop_priority=4),
]


@remote_command
def nodes() -> None:
    """List the nodes of the cluster.

    Exit code 1 where this gateway has no contact with the engine of its cluster.
    """
    found = client().get(Nodes, path_to("nodes"))
    if found.cluster is None:
        print_result(found, ["this gateway is alone: its configuration has no section `cluster`"])
        return
    rows = table(_COLUMNS, map(_row, found.items), max_width=terminal_width()) if found.items else []
    print_result(found, [*rows, *([found.problem] if found.problem else [])])
    if found.engine != "joined":
        raise SystemExit(1)


def _row(node: Node) -> list[str]:
    return [
        f"{node.name} (this)" if node.is_this else node.name,
        node.state,
        number(node.sessions),
        f"{duration(node.silent_s)} ago",
        ago(node.started_at),
        node.host,
        str(node.pid),
        node.version,
    ]
