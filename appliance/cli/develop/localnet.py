"""``icws localnet``: a local IC with canisters of Wasm or the ping-pong of ours, and a gateway, until interrupted."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from click.core import ParameterSource

from appliance.cli import loop
from appliance.cli.develop.project_files import write_ids
from appliance.cli.develop.wasm_files import WasmFile, collect, pairs
from appliance.cli.loop import free_port
from appliance.config.schema import Canister, Config, Gateway, Log, Network, Verification
from appliance.errors import Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.management.rules import Refusal
from appliance.localnet.net import Localnet
from appliance.localnet.replica.slots import LogLine, Slot
from appliance.localnet.wasm.hosting import NoEngine, default_cache
from appliance.localnet.websocket.canister import Generation
from appliance.localnet.websocket.dialect import DIALECTS
from appliance.localnet.websocket.pingpong import PingPong
from appliance.log import configure_logging
from appliance.service import serving

GATEWAY_PORT = 8080
MOVED_CLOCK_S = 86_400.0
"""How far ahead the gateway lets the time of the local IC be, which can be moved: the most that it can be told."""


def _principal(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Principal | None:
    try:
        return None if text is None else Principal.from_text(text)
    except Malformed as error:
        raise click.BadParameter(str(error)) from None


def _principals(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> list[Principal]:
    return [found for found in (_principal(_context, _parameter, text) for text in texts) if found is not None]


@dataclass(frozen=True)
class Plan:
    """What is to be run. Without modules that is the ping-pong; ``gateway_port`` None is no gateway."""

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
    help="Deploy this module, under the name of its file. Repeatable.",
)
@click.option("--canister", "named", metavar="NAME=PATH", multiple=True, help="Deploy a module by a name. Repeatable.")
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=CANDID",
    multiple=True,
    help="Install a canister with these arguments, e.g. 'chat=(opt record { size = 7 })'. Repeatable.",
)
@click.option(
    "--controller",
    "controllers",
    metavar="PRINCIPAL",
    multiple=True,
    callback=_principals,
    help="Who may change the canisters besides the developer of the page. Repeatable.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Loopback port; 0: any.")
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    default=GATEWAY_PORT,
    show_default=True,
    help="Of the WebSocket gateway, which runs with --wasm, --canister and --state, or where this is given; 0: any.",
)
@click.option("--no-gateway", is_flag=True, help="Run no WebSocket gateway.")
@click.option(
    "--state",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep keys, canisters and time here, and begin with what is here.",
)
@click.option(
    "--write-ids",
    "ids_folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Write the ids where dfx, icp-cli and .env readers look for them in this project.",
)
@click.option(
    "--subnet", is_flag=True, help="Sign with a subnet key that the root key delegates to, as on the mainnet."
)
@click.option("--seed", metavar="TEXT", help="Make the keys from this text instead of at random. Not a secret.")
@click.option(
    "--generation",
    type=click.Choice(list(DIALECTS)),
    default="v2",
    show_default=True,
    help="The wire generation of the ping-pong canister: v0 of the seed, v1 of SDK 0.1 and 0.2, v2 of SDK 0.3 to 0.5.",
)
@click.option(
    "--gateway",
    metavar="PRINCIPAL",
    callback=_principal,
    help="The one gateway that a canister of v0 or v1 deals with; v2 takes any.",
)
@click.pass_context
def localnet(
    context: click.Context,
    *,
    wasm: tuple[Path, ...],
    named: tuple[str, ...],
    arguments: tuple[str, ...],
    controllers: list[Principal],
    port: int,
    gateway_port: int,
    no_gateway: bool,
    folder: Path | None,
    ids_folder: Path | None,
    subnet: bool,
    seed: str | None,
    generation: Generation,
    gateway: Principal | None,
) -> None:
    """Run a local IC until interrupted.

    With --wasm chat.wasm it has your canister, a WebSocket gateway in front of it and a page to call it; without, a
    ping-pong WebSocket canister.
    """
    paths = {name: Path(path) for name, path in pairs("--canister", named).items()}
    cache = _cache(is_needed=bool(wasm or paths))
    modules = collect(wasm, paths, pairs("--arg", arguments), cache=cache)
    pingpong = None if modules else PingPong(generation=generation, gateway=_checked(generation, gateway))
    is_named = context.get_parameter_source("gateway_port") is not ParameterSource.DEFAULT
    chosen = gateway_port if is_named else free_port(gateway_port) if modules or folder else None
    plan = Plan(modules, pingpong, None if no_gateway else chosen, folder, ids_folder, controllers)
    configure_logging(Log(level="warning"))
    net = Localnet(
        port=port, subnet=subnet, seed=None if seed is None else seed.encode(), state_dir=folder, cache=cache
    )
    loop.run(_serve(net, plan, port))


def _cache(*, is_needed: bool) -> Path | None:
    """Where compiled modules are kept, or None where nothing can compile and nothing must."""
    try:
        return default_cache()
    except NoEngine as error:
        if is_needed:
            raise click.ClickException(str(error)) from error
        return None


@contextmanager
def _listening(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror or error}") from error


def _checked(generation: Generation, gateway: Principal | None) -> Principal | None:
    """The same gateway, where the generation goes with it."""
    if DIALECTS[generation].has_one_gateway and gateway is None:
        raise click.UsageError(
            f"a canister of generation {generation} deals with one gateway only, name it by --gateway PRINCIPAL: "
            "`icws identity show` says yours (`icws identity new` makes one)"
        )
    if not DIALECTS[generation].has_one_gateway and gateway is not None:
        raise click.UsageError(f"a canister of generation {generation} deals with any gateway, leave --gateway out")
    return gateway


async def _serve(net: Localnet, plan: Plan, port: int) -> None:
    net.replica.slots.listeners.append(_show_line)
    with loop.interrupts() as interrupted:
        async with AsyncExitStack() as stack:
            with _listening(port):
                await stack.enter_async_context(net)
            click.echo(f"url:      {net.url}")
            click.echo(f"root key: {net.root_key.hex()}")
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
    """Install what is to be run, and say so."""
    if plan.pingpong is not None and not net.names:
        canister = net.create_canister(plan.pingpong)
        click.echo(f"canister: {canister} (ping-pong, wire generation {plan.pingpong.dialect.generation})")
        if plan.pingpong.gateway is not None:
            click.echo(f"gateway:  {plan.pingpong.gateway}")
        return {"ping-pong": canister}
    for file in plan.modules:
        try:
            net.deploy(file.name, file.module, arg=file.arg, controllers=plan.controllers)
        except (Refusal, ExecutionError) as error:
            raise click.ClickException(f"{file.path} cannot be installed: {error}") from error
    for name, canister in net.names.items():
        click.echo(f"canister: {canister} ({name})")
    return net.names


@asynccontextmanager
async def _gateway(net: Localnet, plan: Plan, ids: dict[str, Principal]) -> AsyncIterator[str]:
    """A gateway for the canisters there are and those to come, and its URL."""
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
        raise click.ClickException(f"the ids are not written: {error}") from error
    for file in written:
        click.echo(f"ids in:   {file}")


def _show_line(slot: Slot, line: LogLine) -> None:
    """A line that a canister has written, as it comes."""
    time = datetime.fromtimestamp(line.time_ns / 1e9, UTC)
    who = click.style(f"[{slot.name or slot.canister_id}]", bold=True)
    click.echo(f"{time:%H:%M:%S} {who} {_harmless(line.text)}")


def _harmless(text: str) -> str:
    """Without what would have the terminal do something; further lines are indented."""
    return "".join(one if one.isprintable() else "\n         " if one == "\n" else "\ufffd" for one in text)
