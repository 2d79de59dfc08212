"""``icws drain``: let clients go, at a pace."""

import time
from collections.abc import Iterator

import click

from appliance.cli.output.formatting import ago, duration, number
from appliance.cli.output.terminal import field_lines, print_result, terminal_width
from appliance.cli.remote.api_options import client, remote_group, request, wants_json
from appliance.cli.remote.arguments import DURATION, RATE, complete_canister
from appliance.config.units import format_rate
from appliance.control.client import Client, path_to
from appliance.control.models import Drain, DrainProgress, DrainRequest

LOOK_EVERY_S = 0.5
_GOING = ("waiting", "closing")
_OF_CANISTER = click.option("--canister", shell_complete=complete_canister, help="Of its clients only.")


@remote_group
@click.pass_context
def drain(context: click.Context) -> None:
    """Close sessions at a pace, so that their clients do not all come back at once; without a command, how far it is.

    The gateway says that it is not ready first, so that balancers send nobody, and `ws_close` is sent for each session.
    """
    if context.invoked_subcommand is None:
        _show(client().get(Drain, path_to("drain")))


@drain.command()
@click.option("--rate", type=RATE, help="Sessions closed at most, e.g. 100/s. As the configuration has it by default.")
@click.option("--grace", "grace_s", type=DURATION, help="Between saying not to be ready and the first close.")
@click.option("--deadline", "deadline_s", type=DURATION, help="For all of it; the rate is raised where it must be.")
@click.option("--canister", shell_complete=complete_canister, help="Only its clients; the gateway stays ready then.")
@click.option("--reconnect-after", "reconnect_after_s", type=DURATION, help="When clients are told to come back.")
@click.option("--wait", is_flag=True, help="Show the progress, and end when it ends. Exit code 1: it was cancelled.")
def start(
    *,
    rate: float | None,
    grace_s: float | None,
    deadline_s: float | None,
    canister: str | None,
    reconnect_after_s: float | None,
    wait: bool,
) -> None:
    """Begin. The gateway itself stays; `icws drain cancel` lets clients in again."""
    api = client()
    body = request(
        DrainRequest,
        rate=rate,
        grace_s=grace_s,
        deadline_s=deadline_s,
        canister=canister,
        reconnect_after_s=reconnect_after_s,
    )
    began = api.post(Drain, path_to("drain"), body)
    if not wait:
        _show(began)
        return
    ended = _wait(api, began)
    _show(ended)
    if ended.state == "cancelled":
        raise SystemExit(1)


@drain.command()
@_OF_CANISTER
def status(canister: str | None) -> None:
    """Show how far it is, or how the last one went."""
    _show(client().get(Drain, path_to("drain"), canister=canister))


@drain.command()
@_OF_CANISTER
def cancel(canister: str | None) -> None:
    """Close no more sessions and be ready again."""
    _show(client().ask(Drain, "DELETE", path_to("drain"), query={"canister": canister}))


def _wait(api: Client, state: Drain) -> Drain:
    """Until it is over."""
    is_shown = not wants_json()
    while state.state in _GOING:
        if is_shown:
            click.echo(f"\r{_progress(state)}", err=True, nl=False)
        time.sleep(LOOK_EVERY_S)
        state = api.get(Drain, path_to("drain"), canister=state.canister)
    if is_shown:
        click.echo("\r" + " " * 60 + "\r", err=True, nl=False)
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
        yield from field_lines(_pairs(progress), max_width=terminal_width())


def _pairs(state: DrainProgress) -> Iterator[tuple[str, str]]:
    if state.state == "none":
        yield "drain", "none, and none was"
        return
    yield "drain", state.state
    yield "of", f"canister {state.canister}" if state.canister else "all sessions"
    yield "progress", f"{number(state.closed)} closed of {number(state.total)}, {number(state.left)} left"
    if state.started_at:
        yield "started", ago(state.started_at)
    if state.state in _GOING:
        yield "remaining", _eta(state)
    if state.rate is not None and state.deadline_s is not None:
        yield "pace", f"{format_rate(state.rate)}, {duration(state.deadline_s)} for all of it"
