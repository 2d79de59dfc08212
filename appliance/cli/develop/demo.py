"""``icws demo``: a conversation through a real gateway and a local IC, each step in plain words."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import click

from appliance.cli import loop
from appliance.cli.free_port import free_port
from appliance.client import Connection, Generation, Message, connect
from appliance.config.schema import Canister, Config, Gateway, Log, Network
from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.agent import Agent
from appliance.ic.identity import AnonymousIdentity, KeyIdentity, create_identity
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import configure_logging
from appliance.service import Service, serving

PATIENCE_S = 30.0
"""For the whole conversation."""
_COUNT = CandidTypes("(nat64)")


@click.command()
@click.option("--once", is_flag=True, help="End after the conversation instead of serving on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the gateway; 0: any.")
@click.option("--ic-port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Of the local IC.")
@click.option(
    "--generation", type=click.Choice(["v0", "v1", "v2"]), default="v2", show_default=True, help="Of the wire format."
)
def demo(port: int, ic_port: int, *, once: bool, generation: Generation) -> None:
    """Run a local IC, a canister, a gateway and a client, and see a message go all the way and back.

    Serves until interrupted, unless told --once: then exit code 0 says that the whole conversation went well. A port
    that is taken is replaced by a free one.
    """
    configure_logging(Log(level="warning"))
    try:
        loop.run(_demonstrate(Stage(free_port(port), free_port(ic_port), generation), once=once))
    except TimeoutError:
        raise click.ClickException(f"the conversation took longer than {PATIENCE_S:g} s") from None


class Stage(NamedTuple):
    """What is to be set up: ports of the gateway and of the local IC, and the wire generation."""

    port: int
    ic_port: int
    generation: Generation


async def _demonstrate(stage: Stage, *, once: bool) -> None:
    async with _set_up(stage) as (net, canister, service):
        url = service.url if stage.generation == "v2" else f"{service.url}/{stage.generation}"
        async with asyncio.timeout(PATIENCE_S):
            await _conversation(net, canister, url)
            await _farewell(net, canister, service)
        if not once:
            await _serve_on(net, canister, url)


async def _serve_on(net: Localnet, canister: Principal, url: str) -> None:
    with loop.interrupts() as interrupted:
        click.echo("\nThe gateway serves on; Ctrl-C ends it. Talk to the canister from another terminal:\n")
        click.echo(f"  .venv/bin/icws connect {url} {canister!s} --network {net.url}\n")
        await interrupted.wait()
    click.echo("\nstopped")


@asynccontextmanager
async def _set_up(stage: Stage) -> AsyncIterator[tuple[Localnet, Principal, Service]]:
    """Local IC, canister and gateway."""
    with tempfile.TemporaryDirectory(prefix="icws-demo-") as folder:
        key_file = Path(folder, "identity.pem")
        gateway = create_identity(key_file).principal
        async with Localnet(port=stage.ic_port, subnet=True) as net:
            _step("Local IC", f"{net.url}, an Internet Computer in this process with BLS keys made just now")
            _more(f"root key …{net.root_key.hex()[-16:]}, delegating to subnet {net.subnet_id!s}")
            canister = net.create_canister(PingPong(generation=stage.generation, gateway=gateway))
            _step("Canister", f"{canister!s} answers each message and certifies what it says")
            _more(f"wire generation {stage.generation}")
            config = Config(
                gateway=Gateway(listen=f"127.0.0.1:{stage.port}", identity=key_file),
                network=Network(url=[net.url], root_key=net.root_key.hex()),
                canisters=[Canister(id=canister, name="ping-pong", generation=[stage.generation])],
            )
            async with serving(config) as service:
                _step("Gateway", f"{service.url} serves this canister")
                _more(f"Gateway Agent principal: {service.principal!s}")
                yield net, canister, service


async def _conversation(net: Localnet, canister: Principal, url: str) -> None:
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    _step("Client", f"{identity.principal!s}, a fresh Ed25519 key")
    started = time.perf_counter()
    is_v0 = url.endswith("/v0")
    async with connect(
        url,
        str(canister),
        identity=identity,
        network_url=net.url,
        root_key=net.root_key,
        message_type=None if is_v0 else APP_MESSAGE,
    ) as client:
        opening = "registers a key and signs its first message" if is_v0 else "signs ws_open"
        _more(f"{opening}; the gateway verifies signature and sender, and only then registers the client")
        _more(f"the canister took it: session open after {_ms(started)}")
        _heard(await client.receive())
        for text in ("hello", "and good-bye"):
            await _round_trip(client, text)


async def _round_trip(client: Connection, text: str) -> None:
    started = time.perf_counter()
    await client.send({"text": text, "timestamp": time.time_ns()})
    _step("Client → canister", f"“{text}”, signed by the client, relayed by the gateway byte for byte")
    message = await client.receive()
    if _text(message) != f"{text} ping":
        raise click.ClickException(f"the canister answered “{text}” with “{_text(message)}”")
    _heard(message)
    _more(f"round trip {_ms(started)}")


def _heard(message: Message) -> None:
    _step("Canister → client", f"“{_text(message)}”, message {message.sequence_num} of this session")
    _more("BLS certificate, witness and content verified by the gateway, and by the client, which need not trust it")


async def _farewell(net: Localnet, canister: Principal, service: Service) -> None:
    while service.gateway.pending_close_calls:  # noqa: ASYNC110 - looking now and then is enough here
        await asyncio.sleep(0.01)
    async with HttpTransport([net.url], timeout_s=PATIENCE_S, max_reply=65536) as transport:
        agent = Agent(transport, AnonymousIdentity(), Verifier(net.root_key))
        (left,) = _COUNT.decode(await agent.query(canister, "clients_connected", CandidTypes("()").encode()))
    if left != 0:
        raise click.ClickException(f"the canister still counts {left} clients after the client left")
    _step("Farewell", "the client closed its socket, the gateway told the canister (ws_close): 0 clients there now")


def _text(message: Message) -> str:
    if not isinstance(message.value, dict):
        raise GatewayError
    return str(message.value["text"])


def _ms(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"


def _step(who: str, what: str) -> None:
    click.echo(f"{click.style(f'{who:<18}', bold=True)} {what}")


def _more(what: str) -> None:
    click.echo(f"{'':<18} {what}")
