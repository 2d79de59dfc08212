"""``icws localnet``: a local IC with the ping-pong WebSocket canister, until interrupted."""

import click

from appliance.cli import loop
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import PingPong


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Loopback port; 0: any.")
@click.option(
    "--subnet", is_flag=True, help="Sign with a subnet key that the root key delegates to, as on the mainnet."
)
@click.option("--seed", metavar="TEXT", help="Make the keys from this text instead of at random. Not a secret.")
def localnet(port: int, *, subnet: bool, seed: str | None) -> None:
    """Run a local IC with a ping-pong WebSocket canister until interrupted."""
    try:
        loop.run(_serve(Localnet(port=port, subnet=subnet, seed=seed.encode() if seed is not None else None)))
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror or error}") from error


async def _serve(net: Localnet) -> None:
    with loop.interrupts() as interrupted:
        async with net:
            canister = net.create_canister(PingPong())
            click.echo(f"url:      {net.url}")
            click.echo(f"root key: {net.root_key.hex()}")
            click.echo(f"canister: {canister} (ping-pong, wire generation v2)")
            await interrupted.wait()
