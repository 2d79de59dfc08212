"""``icws localnet``: a local IC with the ping-pong WebSocket canister, until interrupted."""

import click

from appliance.cli import loop
from appliance.errors import Malformed
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import PingPong
from appliance.localnet.websocket_canister import Generation
from appliance.localnet.websocket_dialect import DIALECTS


def _principal(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Principal | None:
    try:
        return None if text is None else Principal.from_text(text)
    except Malformed as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Loopback port; 0: any.")
@click.option(
    "--subnet", is_flag=True, help="Sign with a subnet key that the root key delegates to, as on the mainnet."
)
@click.option("--seed", metavar="TEXT", help="Make the keys from this text instead of at random. Not a secret.")
@click.option(
    "--generation",
    type=click.Choice(list(DIALECTS)),
    default="v2",
    show_default=True,
    help="The wire generation of the canister: v0 of the seed, v1 of SDK 0.1 and 0.2, v2 of SDK 0.3 to 0.5.",
)
@click.option(
    "--gateway",
    metavar="PRINCIPAL",
    callback=_principal,
    help="The one gateway that a canister of v0 or v1 deals with; v2 takes any.",
)
def localnet(port: int, *, subnet: bool, seed: str | None, generation: Generation, gateway: Principal | None) -> None:
    """Run a local IC with a ping-pong WebSocket canister until interrupted."""
    canister = PingPong(generation=generation, gateway=_checked(generation, gateway))
    net = Localnet(port=port, subnet=subnet, seed=seed.encode() if seed is not None else None)
    try:
        loop.run(_serve(net, canister))
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


async def _serve(net: Localnet, pingpong: PingPong) -> None:
    with loop.interrupts() as interrupted:
        async with net:
            canister = net.create_canister(pingpong)
            click.echo(f"url:      {net.url}")
            click.echo(f"root key: {net.root_key.hex()}")
            click.echo(f"canister: {canister} (ping-pong, wire generation {pingpong.dialect.generation})")
            if pingpong.gateway is not None:
                click.echo(f"gateway:  {pingpong.gateway}")
            await interrupted.wait()
