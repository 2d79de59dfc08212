"""``icws nodes``: the nodes of the cluster."""

from collections.abc import Iterator

from appliance.cli.output.formatting import ago, counted, duration, number
from appliance.cli.output.terminal import Column, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Node, Nodes

_COLUMNS = [
    Column("NODE", min_width=6),
    Column("STATE"),
    Column("SESSIONS", align="right"),
    Column("REVISION", align="right", drop_priority=2),
    Column("HEARTBEAT", align="right", drop_priority=1),
    Column("STARTED", drop_priority=3),
    Column("MACHINE", min_width=7, drop_priority=4),
    Column("PID", align="right", drop_priority=6),
    Column("VERSION", drop_priority=5),
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
    notes = [each for node in found.items for each in _notes(node)]
    print_result(found, [*rows, *notes, *([found.problem] if found.problem else [])])
    if found.engine != "joined":
        raise SystemExit(1)


def _notes(node: Node) -> Iterator[str]:
    if node.failing:
        yield f"{node.name} is not ready: {', '.join(node.failing)}"
    if node.given_up_by is not None and node.given_up_at is not None:
        left = node.clients or 0 if node.state == "given up" else 0
        yield (
            f"{node.name} was given up by {node.given_up_by} {ago(node.given_up_at)}: its canisters were told of "
            f"{counted(node.told or 0, 'client')}" + (f", {number(left)} to go" if left else "")
        )
    elif node.peer is None and node.state != "returned":
        yield f"{node.name} has no cluster.peer: nobody speaks for it if it dies, but its next start"


def _state(node: Node) -> str:
    if node.state != "alive":
        return node.state
    return "draining" if node.draining else "not ready" if node.failing else node.state


def _row(node: Node) -> list[str]:
    return [
        f"{node.name} (this)" if node.is_this else node.name,
        _state(node),
        number(node.sessions),
        "-" if node.generation is None else str(node.generation),
        f"{duration(node.silent_s)} ago",
        ago(node.started_at),
        node.host,
        str(node.pid),
        node.version,
    ]
