"""``icws drain``: close sessions gradually."""

import time
from collections.abc import Iterator

import click

from appliance.cli.output.formatting import ago, canister_label, duration, number
from appliance.cli.output.terminal import echo, field_lines, print_result, terminal_width
from appliance.cli.remote.api_options import client, remote_group, request, wants_json
from appliance.cli.remote.arguments import DURATION, RATE, complete_canister, node_option
from appliance.config.fields.units import format_rate
from appliance.control.client import Client, path_to
from appliance.control.models import Drain, DrainProgress, DrainRequest

POLL_INTERVAL_S = 0.5
_ACTIVE_STATES = ("waiting", "closing")
_CANISTER = click.option("--canister", shell_complete=complete_canister, help="The drain of this canister's clients.")


@remote_group
@click.pass_context
def drain(context: click.Context) -> None:
    """Close all sessions gradually, so that clients do not reconnect all at once. Without a command, show the progress.

    The gateway first reports that it is not ready, so that load balancers send no more clients. It calls `ws_close` for
    each session.
    """
    if context.invoked_subcommand is None:
        _show(client().get(Drain, path_to("drain")))


drain.instead = "icws drain start --canister {word}"


@drain.command()
@click.option("--rate", type=RATE, help="Maximum rate of closed sessions, e.g. 100/s.")
@click.option("--grace", "grace_s", type=DURATION, help="Time between reporting not ready and the first close.")
@click.option("--deadline", "deadline_s", type=DURATION, help="Total time; the rate is increased if needed.")
@click.option("--canister", shell_complete=complete_canister, help="Drain only its clients; the gateway stays ready.")
@click.option(
    "--reconnect-after",
    "reconnect_after_s",
    type=DURATION,
    help="Delay before reconnecting, sent to clients in the close reason.",
)
@node_option
@click.option("--wait", is_flag=True, help="Show the progress until it ends. Exit code 1: it was cancelled.")
def start(
    *,
    rate: float | None,
    grace_s: float | None,
    deadline_s: float | None,
    canister: str | None,
    reconnect_after_s: float | None,
    node: str | None,
    wait: bool,
) -> None:
    """Start a drain. The gateway keeps running; `icws drain cancel` accepts clients again.

    Options that are not given are those of `drain` in the configuration.
    """
    api = client()
    body = request(
        DrainRequest,
        rate=rate,
        grace_s=grace_s,
        deadline_s=deadline_s,
        canister=canister,
        reconnect_after_s=reconnect_after_s,
    )
    began = api.ask(Drain, "POST", path_to("drain"), query={"node": node}, body=body)
    if not wait:
        _show(began)
        return
    ended = _wait(api, began, node)
    _show(ended)
    if ended.state == "cancelled":
        raise SystemExit(1)


@drain.command()
@_CANISTER
@node_option
def status(canister: str | None, node: str | None) -> None:
    """Show the progress of the drain, or the result of the last one."""
    _show(client().get(Drain, path_to("drain"), canister=canister, node=node))


@drain.command()
@_CANISTER
@node_option
def cancel(canister: str | None, node: str | None) -> None:
    """Stop closing sessions and be ready again."""
    _show(client().ask(Drain, "DELETE", path_to("drain"), query={"canister": canister, "node": node}))


def _wait(api: Client, state: Drain, node: str | None) -> Drain:
    """Show the progress until the drain is over, and return the final state."""
    is_shown = not wants_json()
    while state.state in _ACTIVE_STATES:
        if is_shown:
            echo(_progress(state), err=True, nl=False, overwrite=True)
        time.sleep(POLL_INTERVAL_S)
        state = api.get(Drain, path_to("drain"), canister=state.canister, node=node)
    if is_shown:
        echo(" " * 60, err=True, nl=False, overwrite=True)
        echo(err=True, nl=False, overwrite=True)
    return state


def _progress(state: DrainProgress) -> str:
    done = state.total - state.left
    bar = "█" * (20 * done // state.total) if state.total else ""
    return f"{state.state:<8} {bar:<20} {number(done)} of {number(state.total)}, {_eta(state)}".ljust(60)


def _eta(state: DrainProgress) -> str:
    return "no estimate" if state.eta_s is None else f"{duration(state.eta_s)} left"


def _show(state: Drain) -> None:
    print_result(state, _lines(state))


def _lines(state: Drain) -> Iterator[str]:
    others = [progress for progress in state.canisters if progress.canister != state.canister]
    shown = others if state.state == "none" and others else [state, *others]
    for position, progress in enumerate(shown):
        yield from [""] if position else []
        yield from field_lines(_fields(progress), max_width=terminal_width())


def _fields(state: DrainProgress) -> Iterator[tuple[str, str]]:
    if state.state == "none":
        yield "drain", "none so far"
        return
    yield "drain", state.state
    label = canister_label(state.canister, state.canister_name)
    yield "scope", f"canister {label}" if state.canister else "all sessions"
    yield "progress", f"{number(state.closed)} closed of {number(state.total)}, {number(state.left)} left"
    if state.started_at:
        yield "started", ago(state.started_at)
    if state.state in _ACTIVE_STATES:
        yield "remaining", _eta(state)
    if state.rate is not None and state.deadline_s is not None:
        yield "pace", f"{format_rate(state.rate)}, {duration(state.deadline_s)} in total"
