"""``icws localnet``: a local IC with Wasm canisters or our ping-pong canister, and a gateway."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

import click
from click.core import ParameterSource

from appliance.cli import loop
from appliance.cli.develop.conditions import Knobs, condition_options, conditions_of, describe
from appliance.cli.develop.project_files import write_ids
from appliance.cli.develop.wasm_files import WasmFile, collect, pairs
from appliance.cli.loop import free_port
from appliance.cli.remote.arguments import PRINCIPAL
from appliance.config.schema import Canister, Config, Gateway, Log, Network, Verification
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.record import CanisterRecord, LogLine
from appliance.localnet.management.rules import CallRejected
from appliance.localnet.net import Localnet
from appliance.localnet.wasm.loader import WasmtimeMissing, default_cache
from appliance.localnet.websocket.canister import Generation
from appliance.localnet.websocket.dialect import DIALECTS
from appliance.localnet.websocket.pingpong import PingPong
from appliance.log import configure_logging

GATEWAY_PORT = 8080
MOVED_CLOCK_S = 86_400.0
"""How far the local IC's time may be ahead for the gateway. Users may move it; this is the maximum age that the
configuration allows."""


@dataclass(frozen=True)
class Plan:
    """What to run. ``pingpong`` is None if there are modules; ``gateway_port`` None means no gateway."""

    modules: list[WasmFile]
    pingpong: PingPong | None
    gateway_port: int | None
    folder: Path | None
    ids_folder: Path | None
    controllers: list[Principal]


@click.command()
@click.option(
    "--wasm",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Deploy this module under its file's name. Repeatable.",
)
@click.option(
    "--canister", "named", metavar="NAME=PATH", multiple=True, help="Deploy a module under this name. Repeatable."
)
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=CANDID",
    multiple=True,
    help="Install arguments of a canister, e.g. 'chat=(opt record { size = 7 })'. Repeatable.",
)
@click.option(
    "--controller",
    "controllers",
    metavar="PRINCIPAL",
    multiple=True,
    type=PRINCIPAL,
    help="Further controller of the canisters, besides the page's developer identity. Repeatable.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Loopback port; 0: any.")
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    default=GATEWAY_PORT,
    show_default=True,
    help="Port of the WebSocket gateway, which runs with --wasm, --canister, --state or this option; 0: any.",
)
@click.option("--no-gateway", is_flag=True, help="Run no WebSocket gateway.")
@click.option(
    "--state",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Store keys, canisters and time here, and start from the stored state.",
)
@click.option(
    "--write-ids",
    "ids_folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Write the canister ids to the files of dfx, icp-cli and .env in this project.",
)
@click.option(
    "--subnet", is_flag=True, help="Sign with a subnet key that the root key delegates to, as on the mainnet."
)
@click.option("--seed", metavar="TEXT", help="Derive the keys from this text instead of at random. Not a secret.")
@click.option(
    "--generation",
    type=click.Choice(list(DIALECTS)),
    default="v2",
    show_default=True,
    help="Wire generation of the ping-pong canister: v0 (July 2023), v1 (SDK 0.1 and 0.2) or v2 (SDK 0.3 to 0.5).",
)
@click.option(
    "--gateway",
    metavar="PRINCIPAL",
    type=PRINCIPAL,
    help="The one gateway that a v0 or v1 canister accepts; v2 accepts any.",
)
@condition_options
@click.pass_context
def localnet(
    context: click.Context,
    *,
    wasm: tuple[Path, ...],
    named: tuple[str, ...],
    arguments: tuple[str, ...],
    controllers: tuple[Principal, ...],
    port: int,
    gateway_port: int,
    no_gateway: bool,
    folder: Path | None,
    ids_folder: Path | None,
    subnet: bool,
    seed: str | None,
    generation: Generation,
    gateway: Principal | None,
    **knobs: Unpack[Knobs],
) -> None:
    """Run a local IC until interrupted.

    With --wasm chat.wasm it runs your canister, a WebSocket gateway in front of it and a page to call it. Without, it
    runs a ping-pong WebSocket canister.
    """
    paths = {name: Path(path) for name, path in pairs("--canister", named).items()}
    cache = _cache(is_needed=bool(wasm or paths))
    modules = collect(wasm, paths, pairs("--arg", arguments), cache=cache)
    pingpong = None if modules else PingPong(generation=generation, gateway=_checked_gateway(generation, gateway))
    is_named = context.get_parameter_source("gateway_port") is not ParameterSource.DEFAULT
    chosen = gateway_port if is_named else free_port(gateway_port) if modules or folder else None
    plan = Plan(modules, pingpong, None if no_gateway else chosen, folder, ids_folder, list(controllers))
    configure_logging(Log(level="warning"))
    net = Localnet(
        port=port,
        subnet=subnet,
        seed=None if seed is None else seed.encode(),
        state_dir=folder,
        cache=cache,
        conditions=conditions_of(knobs, seed),
    )
    loop.run(_serve(net, plan, port))


def _cache(*, is_needed: bool) -> Path | None:
    """Return the folder of compiled modules; None if no Wasm engine is installed and none is needed."""
    try:
        return default_cache()
    except WasmtimeMissing as error:
        if is_needed:
            raise click.ClickException(str(error)) from error
        return None


@contextmanager
def _listening(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror or error}") from error


def _checked_gateway(generation: Generation, gateway: Principal | None) -> Principal | None:
    """Return the gateway if it fits the generation. Raises UsageError."""
    if DIALECTS[generation].has_one_gateway and gateway is None:
        raise click.UsageError(
            f"a canister of generation {generation} accepts one gateway only, give it with --gateway PRINCIPAL: "
            "`icws identity show` prints yours (`icws identity new` creates one)"
        )
    if not DIALECTS[generation].has_one_gateway and gateway is not None:
        raise click.UsageError(f"a canister of generation {generation} accepts any gateway, leave --gateway out")
    return gateway


async def _serve(net: Localnet, plan: Plan, port: int) -> None:
    net.replica.canisters.log_listeners.append(_show_line)
    with loop.interrupts() as interrupted:
        async with AsyncExitStack() as stack:
            with _listening(port):
                await stack.enter_async_context(net)
            click.echo(f"url:      {net.url}")
            click.echo(f"root key: {net.root_key.hex()}")
            for phrase in describe(net.conditions):
                click.echo(f"network:  {phrase}")
            ids = _deploy(net, plan)
            if plan.gateway_port is not None:
                with _listening(plan.gateway_port):
                    net.page.gateway_url = await stack.enter_async_context(_gateway(net, plan, ids))
                click.echo(f"gateway:  {net.page.gateway_url}")
            click.echo(f"page:     {net.url}/_/")
            if plan.ids_folder is not None:
                _write_ids(net, plan.ids_folder, ids)
            await interrupted.wait()


def _deploy(net: Localnet, plan: Plan) -> dict[str, Principal]:
    """Install the canisters and print their ids."""
    if plan.pingpong is not None and not net.names:
        canister = net.create_canister(plan.pingpong)
        click.echo(f"canister: {canister} (ping-pong, wire generation {plan.pingpong.dialect.generation})")
        if plan.pingpong.gateway is not None:
            click.echo(f"gateway:  {plan.pingpong.gateway}")
        return {"ping-pong": canister}
    for file in plan.modules:
        try:
            net.deploy(file.name, file.module, arg=file.arg, controllers=plan.controllers)
        except (CallRejected, ExecutionError) as error:
            raise click.ClickException(f"{file.path} cannot be installed: {error}") from error
    for name, canister in net.names.items():
        click.echo(f"canister: {canister} ({name})")
    return net.names


@asynccontextmanager
async def _gateway(net: Localnet, plan: Plan, ids: dict[str, Principal]) -> AsyncIterator[str]:
    """Run a gateway for the present and future canisters, and yield its URL."""
    from appliance.service import serving  # noqa: PLC0415 - takes half of the start, and not every network has a gateway

    with tempfile.TemporaryDirectory(prefix="icws-localnet-") as temporary:
        both: list[Generation] = ["v1", "v2"]
        generations = both if plan.pingpong is None else [plan.pingpong.dialect.generation]
        config = Config(
            gateway=Gateway(
                listen=f"127.0.0.1:{plan.gateway_port}", identity=(plan.folder or Path(temporary)) / "gateway.pem"
            ),
            network=Network(url=[net.url], root_key=net.root_key.hex()),
            verification=Verification(max_certificate_age=MOVED_CLOCK_S),
            unlisted_canisters="allow",
            canisters=[Canister(id=canister, name=name, generation=generations) for name, canister in ids.items()],
        )
        async with serving(config) as service:
            yield service.url


def _write_ids(net: Localnet, folder: Path, ids: dict[str, Principal]) -> None:
    try:
        written = write_ids(folder, ids, url=net.url, root_key=net.root_key)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the ids cannot be written: {error}") from error
    for file in written:
        click.echo(f"ids in:   {file}")


def _show_line(record: CanisterRecord, line: LogLine) -> None:
    """A line that a canister has written, as it comes."""
    time = datetime.fromtimestamp(line.time_ns / 1e9, UTC)
    who = click.style(f"[{record.name or record.canister_id}]", bold=True)
    click.echo(f"{time:%H:%M:%S} {who} {_printable(line.text)}")


def _printable(text: str) -> str:
    """Replace control characters, which a terminal would act on, and indent further lines."""
    return "".join(one if one.isprintable() else "\n         " if one == "\n" else "\ufffd" for one in text)
