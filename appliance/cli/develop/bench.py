"""``icws bench``: measures a gateway under load, with a stub IC behind it."""

import asyncio
import json
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from appliance.bench.factor import Step, measure_steps, sentence_of
from appliance.bench.report.baseline import changes, comparison
from appliance.bench.report.document import document, results_of
from appliance.bench.report.page import page
from appliance.bench.report.table import table
from appliance.bench.result import Load, Result
from appliance.bench.run import Foreign, Run
from appliance.bench.scenarios import select
from appliance.bench.stub.server import MAINNET, Latencies
from appliance.bench.stub.serving import serving
from appliance.bench.target import Target
from appliance.bench.testbed import canister
from appliance.cli import loop
from appliance.cli.output.terminal import echo
from appliance.cli.output.text_file import write_text
from appliance.cli.remote.arguments import PRINCIPAL
from appliance.ic.principal import Principal

_HOW_TO = """
Start the gateway that you want to measure with this network, any canister and no rate limits, for example by a
gateway.yaml with these lines:

version: 1
network:
  url: {url}
  root_key: {root_key}
unlisted_canisters: allow
limits:
  held_per_address: {{mode: "off"}}
rate_limits:
  connections_per_ip: {{mode: "off"}}
  messages_per_client: {{mode: "off"}}
  tls_handshakes_per_ip: {{mode: "off"}}
  frames_per_ip: {{mode: "off"}}
  frames_per_connection: {{mode: "off"}}
  bytes_per_connection: {{mode: "off"}}

Then, with the principal that it logs:

icws bench --stub {url} --target ws://127.0.0.1:8080 --principal PRINCIPAL --pid PID"""
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("names", metavar="[SCENARIO]...", nargs=-1)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="How long each scenario sends.")
@click.option("--clients", type=click.IntRange(2, 50_000), help="Clients, all together.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0.01),
    help="Messages a second, together; clients a second where they only connect.",
)
@click.option("--size", type=click.IntRange(16, 1_000_000), help="Bytes of a message.")
@click.option("--block-time", "block_s", type=click.FloatRange(0, 60), help="Seconds from a call to its block.")
@click.option(
    "--round-trip",
    "round_trip_s",
    type=click.FloatRange(0, 10),
    default=0.0,
    help="Seconds that a request to the stub and its reply spend on the way.",
)
@click.option("--like-mainnet", is_flag=True, help="Answer calls after 1 to 2 s and queries after 20 to 200 ms.")
@click.option("--seed", metavar="TEXT", help="Derive the stub's keys and delays from this text.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", "html_file", metavar="FILE", type=_FILE, help="Write a page with plots.")
@click.option("--baseline", metavar="FILE", type=click.File(), help="Compare with the output of an earlier --json.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.3,
    show_default=True,
    help="Fail if a figure is worse than the baseline by more than this part.",
)
@click.option("--target", metavar="URL", help="Measure the gateway that listens here; needs --principal and --stub.")
@click.option("--principal", metavar="PRINCIPAL", type=PRINCIPAL, help="Principal of that gateway.")
@click.option("--pid", type=click.IntRange(min=1), help="Process id of that gateway, to measure CPU and memory.")
@click.option("--stub", "stub_url", metavar="URL", help="Stub IC of that gateway, as --stub-only prints it.")
@click.option("--stub-only", is_flag=True, help="Serve the stub IC until interrupted.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Loopback port of --stub-only; 0: any.")
def bench(
    *,
    names: tuple[str, ...],
    round_trip_s: float,
    like_mainnet: bool,
    seed: str | None,
    as_json: bool,
    html_file: Path | None,
    baseline: Any,
    tolerance: float,
    target: str | None,
    principal: Principal | None,
    pid: int | None,
    stub_url: str | None,
    stub_only: bool,
    port: int,
    **overrides: float | None,
) -> None:
    """Measure a gateway under load.

    Runs a stub IC, a gateway with default settings and the clients in separate processes. The scenarios (all of them
    without SCENARIO) are listed in docs/benchmarks.md; `down` stands for all that begin with `down-`.

    To measure another gateway, or one with your settings: run `icws bench --stub-only`, start the gateway with the
    network that it prints, and give --target, --principal and --stub.

    Exits with 1 if a message was lost, repeated or misrouted, or if a figure is worse than the baseline.
    """
    if stub_only:
        loop.run(_serve_stub(port, seed))
        return
    run = Run(
        _selected(names),
        {name: value for name, value in overrides.items() if value is not None},
        replace(MAINNET if like_mainnet else Latencies(), round_trip_s=round_trip_s),
        seed,
        _foreign(target, principal, pid, stub_url),
    )
    earlier = None if baseline is None else results_of(_parsed(baseline))
    results, steps = loop.run(_results(run))
    contents = document(results, steps)
    if html_file is not None:
        write_text(html_file, page(results, contents["machine"], version("icws")))
    echo(json.dumps(contents, indent=1) if as_json else f"{table(results)}\n{sentence_of(steps)}")
    found = changes(results, earlier or [])
    if earlier is not None:
        echo(comparison(found, tolerance), err=as_json)
    if any(result.faults for result in results) or any(change.is_worse(tolerance) for change in found):
        raise click.exceptions.Exit(1)


async def _results(run: Run) -> tuple[list[Result], list[Step]]:
    """Measure, this machine at last; SIGTERM ends it as Ctrl-C does, so that no gateway is left behind."""
    measuring = asyncio.ensure_future(run.results(_show_start))
    if threading.current_thread() is threading.main_thread():  # signals can be handled there only
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
    try:
        return await measuring, await measure_steps()
    except asyncio.CancelledError as error:
        raise click.Abort from error


async def _serve_stub(port: int, seed: str | None) -> None:
    with loop.interrupts() as interrupted:
        async with serving(port, seed) as stub:
            root_key = stub.replica.authority.root_key.hex()
            echo(f"url:      {stub.url}")
            echo(f"root key: {root_key}")
            echo(f"canister: {canister(0)} (and every other id)")
            echo(_HOW_TO.format(url=stub.url, root_key=root_key))
            await interrupted.wait()


def _selected(names: tuple[str, ...]) -> list[str]:
    try:
        return select(names)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _foreign(target: str | None, principal: Principal | None, pid: int | None, stub_url: str | None) -> Foreign | None:
    if target is None:
        if principal is not None or pid is not None or stub_url is not None:
            raise click.UsageError("--principal, --pid and --stub describe the gateway of --target")
        return None
    if principal is None or stub_url is None:
        raise click.UsageError("--target needs --principal and --stub; `icws bench --stub-only` serves a stub IC")
    if not target.startswith("ws://"):
        raise click.UsageError(
            f"--target is a ws:// URL, not {target}: the clients speak no TLS, to leave it out of the CPU"
        )
    return Foreign(stub_url, Target(target, principal, pid))


def _parsed(file: Any) -> Mapping[str, Any]:
    try:
        parsed: Mapping[str, Any] = json.load(file)
    except ValueError as error:
        raise click.ClickException(f"{file.name} is no JSON: {error}") from error
    return parsed


def _show_start(name: str, load: Load) -> None:
    clients = f"{load.clients} clients, " if load.clients else ""
    echo(f"{name}: {clients}{load.rate:g}/s, {load.seconds:g} s", err=True)
