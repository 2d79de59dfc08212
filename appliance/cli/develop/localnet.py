"""``icws localnet``: a local IC with Wasm canisters or one of our examples, and a gateway."""

from pathlib import Path
from typing import Unpack

import click
from click.core import ParameterSource

from appliance.cli import loop
from appliance.cli.develop.conditions import Knobs, condition_options, conditions_of
from appliance.cli.develop.examples import EXAMPLES, PING_PONG
from appliance.cli.develop.local_gateway import GenerationOption
from appliance.cli.develop.local_service import Plan, checked_port, serve
from appliance.cli.develop.wasm_files import named_paths, pairs
from appliance.cli.remote.arguments import PRINCIPAL
from appliance.config.schema import Log
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.wasm.loader import WasmtimeMissing, default_cache
from appliance.localnet.websocket.dialect import Generation
from appliance.log import configure_logging

GATEWAY_PORT = 8080


class Given(Knobs):
    """The values of the other options."""

    example: str | None
    controllers: tuple[Principal, ...]
    ids_folder: Path | None
    generations: tuple[tuple[str, Generation], ...]
    gateway: Principal | None
    watch: bool


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
    "--example",
    type=click.Choice(EXAMPLES),
    help="Run a canister to talk to: ping-pong, chat (rooms, with a page), or prices (pushed every second).",
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
    help="Port of the WebSocket gateway, which runs with --wasm, --canister, --example, --state or this; 0: any.",
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
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the canister ids to the files of dfx, icp-cli and .env in this project.",
)
@click.option(
    "--subnet/--root-subnet",
    default=None,
    help="Sign with a subnet key under the root key, as on the mainnet (the default), or with the root key itself.",
)
@click.option("--seed", metavar="TEXT", help="Derive the keys from this text instead of at random. Not a secret.")
@click.option(
    "--generation",
    "generations",
    type=GenerationOption(),
    multiple=True,
    help="Wire generation of the example or of canisters: v0 (July 2023), v1 (SDK 0.1 and 0.2) or v2 (SDK 0.3 to "
    "0.5); by default v2, and v1 and v2 for modules. NAME=v0 is for one canister. Repeatable.",
)
@click.option(
    "--gateway",
    metavar="PRINCIPAL",
    type=PRINCIPAL,
    help="The one gateway that an example of v0 or v1 accepts, by default this network's own; v2 accepts any.",
)
@click.option("--watch", is_flag=True, help="Upgrade a canister when the file of its module has been written.")
@condition_options
@click.pass_context
def localnet(
    context: click.Context,
    *,
    wasm: tuple[Path, ...],
    named: tuple[str, ...],
    arguments: tuple[str, ...],
    port: int,
    gateway_port: int,
    no_gateway: bool,
    folder: Path | None,
    subnet: bool | None,
    seed: str | None,
    **given: Unpack[Given],
) -> None:
    """Run a local IC until interrupted.

    With --wasm chat.wasm it runs your canister, a WebSocket gateway in front of it and a page to call it. With
    --example chat it runs one of ours instead. Without either, it runs a ping-pong WebSocket canister and no gateway.

    In --arg, {gateway} is the principal of this gateway, which canisters of v0 and v1 are installed with.
    """
    paths = named_paths(wasm, {name: Path(path) for name, path in pairs("--canister", named).items()})
    example = given["example"]
    if paths and example is not None:
        raise click.UsageError("an example runs alone: leave out --example, or --wasm and --canister")
    is_named = context.get_parameter_source("gateway_port") is not ParameterSource.DEFAULT
    has_gateway = not no_gateway and bool(is_named or paths or folder or example)
    # Before anything else: what follows takes seconds for a large module.
    checked_port(port)
    if has_gateway:
        gateway_port = checked_port(gateway_port) if is_named else loop.free_port(gateway_port)
    cache = _cache(is_needed=bool(paths))
    plan = Plan(
        paths=paths,
        arguments=pairs("--arg", arguments),
        cache=cache,
        example=None if paths else example or PING_PONG,
        is_example_named=example is not None,
        gateway_port=gateway_port if has_gateway else None,
        folder=folder,
        ids_folder=given["ids_folder"],
        controllers=list(given["controllers"]),
        generations=list(given["generations"]),
        gateway=given["gateway"],
        watches=given["watch"],
    )
    configure_logging(Log(level="warning"))
    net = Localnet(
        port=port,
        subnet=subnet,
        seed=None if seed is None else seed.encode(),
        state_dir=folder,
        cache=cache,
        conditions=conditions_of(given, seed),
    )
    loop.run(serve(net, plan, port))


def _cache(*, is_needed: bool) -> Path | None:
    """Return the folder of compiled modules; None if there is none: no Wasm engine is installed and none is needed, or
    this user has no home, and modules are compiled at each start."""
    try:
        return default_cache()
    except WasmtimeMissing as error:
        if is_needed:
            raise click.ClickException(str(error)) from error
        return None
    except RuntimeError:
        return None
