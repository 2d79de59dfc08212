"""``icws canisters``: the served canisters, their polling, and changes to them."""

from collections.abc import Iterator

import click

from appliance.cli.output.changes import applied_lines
from appliance.cli.output.formatting import counted, duration, number
from appliance.cli.output.terminal import Column, field_lines, print_result, table, terminal_width
from appliance.cli.remote.api_options import client, remote_group, request
from appliance.cli.remote.arguments import complete_canister
from appliance.control.client import path_to
from appliance.control.models import AddCanisterRequest, Canister, CanisterChanged, Canisters, Polling, SaveRequest

_COLUMNS = [
    Column("CANISTER", min_width=7, cut="middle"),
    Column("NAME", min_width=8),
    Column("STATE"),
    Column("WIRE", drop_priority=3),
    Column("CLIENTS", align="right"),
    Column("CALLS", align="right", drop_priority=5),
    Column("LAG", align="right", drop_priority=2),
    Column("NONCE", align="right", drop_priority=4),
    Column("PROBLEM", min_width=7, drop_priority=1),
]
_CANISTER = click.argument("canister", shell_complete=complete_canister)
_SAVE = click.option("--save", is_flag=True, help="Also write the change to the gateway's file.")


@remote_group
@click.pass_context
def canisters(context: click.Context) -> None:
    """List the served canisters, or change them.

    Each change is a revision of the configuration: `icws history` lists it, and `icws rollback` undoes it. Without
    --save the gateway's file stays as it is, which the next reload applies.
    """
    if context.invoked_subcommand is None:
        found = client().get(Canisters, path_to("canisters"))
        rows = (
            table(_COLUMNS, map(_row, found.items), max_width=terminal_width())
            if found.items
            else ["no canister is listed"]
        )
        print_result(found, rows)


@canisters.command("show")
@_CANISTER
def show_(canister: str) -> None:
    """Show one canister (principal or name) and its polling."""
    found = client().get(Canister, path_to("canisters", canister))
    print_result(found, field_lines(_pairs(found), max_width=terminal_width()))


canisters.instead = "icws canisters show {word}"


@canisters.command()
@_CANISTER
@_SAVE
def pause(canister: str, *, save: bool) -> None:
    """Refuse new clients and stop polling. Sessions stay open, and their messages still reach the canister."""
    _change(path_to("canisters", canister, "pause"), SaveRequest(save=save))


@canisters.command()
@_CANISTER
@_SAVE
def resume(canister: str, *, save: bool) -> None:
    """Accept clients again and poll at once."""
    _change(path_to("canisters", canister, "resume"), SaveRequest(save=save))


@canisters.command()
@click.argument("canister_id", metavar="ID")
@click.option("--name", help="Display name.")
@click.option(
    "--generation",
    "generations",
    type=click.Choice(["v0", "v1", "v2"]),
    multiple=True,
    help="Wire generation of its clients, v2 by default. Repeatable.",
)
@click.option("--max-clients", type=click.IntRange(1), help="Maximum number of clients at the same time.")
@click.option("--paused", is_flag=True, help="Do not accept clients yet.")
@_SAVE
def add(
    canister_id: str,
    *,
    name: str | None,
    generations: tuple[str, ...],
    max_clients: int | None,
    paused: bool,
    save: bool,
) -> None:
    """Serve the canister with this ID."""
    body = request(
        AddCanisterRequest,
        id=canister_id,
        name=name,
        generation=list(generations) or None,
        max_clients=max_clients,
        paused=paused,
        save=save,
    )
    _change(path_to("canisters"), body)


@canisters.command()
@_CANISTER
@_SAVE
@click.option("--force", is_flag=True, help="Also remove the last canister while it has sessions.")
def remove(canister: str, *, save: bool, force: bool) -> None:
    """Stop serving a canister. Its sessions are closed at the pace of `drain` in the configuration."""
    query = {name: "true" for name, is_set in (("save", save), ("force", force)) if is_set}
    changed = client().ask(CanisterChanged, "DELETE", path_to("canisters", canister), query=query)
    print_result(changed, _changed_lines(changed))


def _change(path: str, body: AddCanisterRequest | SaveRequest) -> None:
    changed = client().post(CanisterChanged, path, body)
    print_result(changed, _changed_lines(changed))


def _changed_lines(changed: CanisterChanged) -> Iterator[str]:
    yield f"canister {changed.canister}"
    yield from applied_lines(changed.applied)


def _row(canister: Canister) -> list[str]:
    polling = canister.polling
    most = f" of {number(canister.max_clients)}" if canister.max_clients else ""
    return [
        canister.id,
        (canister.name or "-") if canister.listed else "not listed",
        canister.state,
        ",".join(canister.generation),
        f"{number(canister.clients)}{most}",
        number(canister.waiting_calls),
        duration(polling.lag_s) if polling else "-",
        number(polling.next_nonce) if polling else "-",
        " ".join((polling.last_error or "").split()) if polling else "",
    ]


def _pairs(canister: Canister) -> Iterator[tuple[str, str]]:
    most = f", at most {number(canister.max_clients)}" if canister.max_clients else ""
    yield "canister", canister.id
    yield "name", canister.name or "-"
    yield "listed", "yes" if canister.listed else "no, served while it has clients"
    yield "state", canister.state
    yield "wire", ", ".join(canister.generation)
    yield "clients", f"{number(canister.clients)}{most}; {counted(canister.sessions, 'open session')}"
    yield "calls", f"{counted(canister.waiting_calls, 'call')} waiting for the IC"
    if canister.polling is None:
        yield "polling", "not polled"
    else:
        yield from _polling_pairs(canister.polling)


def _polling_pairs(polling: Polling) -> Iterator[tuple[str, str]]:
    yield "polling", polling.state
    yield "lag", f"{duration(polling.lag_s)} since the last successful poll, next in {duration(polling.wait_s)}"
    each = "" if polling.polls_per_message is None else f", {polling.polls_per_message:.1f} polls per message"
    yield "so far", f"{counted(polling.polls, 'poll')}, {counted(polling.delivered, 'message')} delivered{each}"
    yield "next nonce", str(polling.next_nonce)
    if polling.failures:
        yield "failures", f"{number(polling.failures)} in a row"
    if polling.last_error:
        yield "last error", polling.last_error
