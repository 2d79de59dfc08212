"""``icws workers``: the processes that serve clients."""

import time

import click

from appliance.cli.output.formatting import ago, number
from appliance.cli.output.terminal import Column, echo, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_group, wants_json
from appliance.control.client import path_to
from appliance.control.models import Worker, Workers

POLL_S = 0.5
_COLUMNS = [
    Column("WORKER"),
    Column("STATE"),
    Column("CONNECTIONS", align="right"),
    Column("ACCEPTS", drop_priority=1),
    Column("STARTED", drop_priority=2),
    Column("STARTS", align="right", drop_priority=3),
    Column("PID", align="right", drop_priority=4),
]


@remote_group
@click.pass_context
def workers(context: click.Context) -> None:
    """List the processes that serve clients, where gateway.workers is more than 1."""
    if context.invoked_subcommand is None:
        _show(client().get(Workers, path_to("workers")))


@workers.command()
@click.option("--no-wait", is_flag=True, help="Do not wait until all are replaced.")
def restart(*, no_wait: bool) -> None:
    """Restart the workers one by one, for example after an update of the program.

    Each closes its sessions at the rate of drains; their clients come back at once, to the other workers or to the next
    process. Exit code 1: a worker did not become ready; those after it run as before.
    """
    api = client()
    state = api.post(Workers, path_to("workers", "restart"))
    while state.restarting and not no_wait:
        time.sleep(POLL_S)
        state = api.get(Workers, path_to("workers"))
        if not wants_json():
            echo(", ".join(f"{each.number} {each.state}" for each in state.items))
    _show(state)
    if state.problem:
        raise SystemExit(1)


def _show(found: Workers) -> None:
    if not found.items:
        print_result(found, ["this gateway is one process: gateway.workers is 1"])
        return
    notes = [f"worker {each.number}: {each.problem}" for each in found.items if each.problem]
    notes += ["they are being restarted one by one"] if found.restarting else []
    notes += [f"the last restart was given up: {found.problem}"] if found.problem else []
    print_result(found, [*table(_COLUMNS, map(_row, found.items), max_width=terminal_width()), *notes])


def _row(worker: Worker) -> list[str]:
    return [
        str(worker.number),
        worker.state,
        number(worker.connections),
        "yes" if worker.accepts else "no",
        "-" if worker.started_at is None else ago(worker.started_at),
        number(worker.starts),
        "-" if worker.pid is None else str(worker.pid),
    ]
