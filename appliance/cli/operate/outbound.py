"""``icws outbound``: the connections of a gateway whose service has no network of its own."""

import asyncio
import os
from pathlib import Path

import click

from appliance.cli.loop import interrupts
from appliance.config.fields.address import UnixAddress, parse_address
from appliance.config.source import Source
from appliance.gateway.sockets.accepting.addresses import ListenAddress, bind
from appliance.log import Logging
from appliance.outbound.destinations import Destinations
from appliance.outbound.tunnels import Tunnels

ADDRESS = "unix:/run/icws-outbound.sock"


@click.command()
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default="gateway.yaml",
    envvar="ICWS_CONFIG",
    show_default=True,
    show_envvar=True,
    help="Configuration file, whose network.url says where connections may go. It is read again when it changes.",
)
@click.option("--listen", default=ADDRESS, show_default=True, help="Unix socket, by systemd or made here.")
def outbound(file: Path, listen: str) -> None:
    """Pass connections of a gateway without a network on to the IC.

    The gateway finds it by HTTP_PROXY and HTTPS_PROXY (unix:/run/icws-outbound.sock). It leads to the endpoints of
    network.url and nowhere else. TLS is between gateway and endpoint.
    """
    try:
        address = parse_address(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    if not isinstance(address, UnixAddress):
        raise click.BadParameter("it serves at a Unix socket only, e.g. " + ADDRESS, param_hint="--listen")
    environment = {name: value for name, value in os.environ.items() if name != "ICWS_CONFIG"}
    source = Source(file, environment)
    Logging(source.load().config.log)
    # Not uvloop, which does not race the addresses of a name.
    asyncio.run(_serve(address, Destinations(source)))


async def _serve(address: UnixAddress, destinations: Destinations) -> None:
    with interrupts() as interrupted:
        bound = await bind(ListenAddress(address, ""), with_tls=False)
        try:
            async with Tunnels(destinations) as tunnels:
                for one in bound.sockets:
                    await tunnels.serve(one)
                await interrupted.wait()
        finally:
            bound.close(unlink=True)
