"""``icws demo``: a conversation through a real gateway and a local IC, with an explanation of each step."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import click

from appliance.cli import loop
from appliance.cli.develop.conditions import Knobs, condition_options, conditions_of, describe
from appliance.cli.develop.examples import CHAT_SOURCE, LOCAL_CONNECTIONS
from appliance.cli.loop import free_port
from appliance.cli.output.terminal import echo, styled
from appliance.client import Connection, Generation, Message, connect
from appliance.config.schema import Canister, Config, Gateway, Log, Network
from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.key_file import create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import configure_logging
from appliance.service import Service, serving

PROGRAM = "icws"
TIMEOUT_S = 30.0
"""For the whole conversation."""
MAX_LOOKS = 50
"""Queries, a tenth of a second apart, until the canister must have no client."""
_COUNT = CandidTypes("(nat64)")


@click.command()
@click.option("--once", is_flag=True, help="End after the conversation instead of serving.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the gateway; 0: any."
)
@click.option(
    "--ic-port", type=click.IntRange(0, 65535), default=4943, show_default=True, help="Port of the local IC; 0: any."
)
@click.option(
    "--generation", type=click.Choice(["v0", "v1", "v2"]), default="v2", show_default=True, help="Wire generation."
)
@click.option(
    "--nodes",
    type=click.IntRange(2, 9),
    metavar="N",
    help="Run N gateways as one instead, with many clients; kill one, and the Redis that they share.",
)
@condition_options
def demo(
    port: int, ic_port: int, *, once: bool, generation: Generation, nodes: int | None, **knobs: Unpack[Knobs]
) -> None:
    """Run a local IC, a canister, a gateway and a client, and follow a message to the canister and back.

    Then serves until interrupted. With --once it ends: exit code 0 means that the whole conversation succeeded. A port
    that is taken is replaced by a free one.

    With --nodes 3 the local IC is like the mainnet, and three gateways serve as one, behind HAProxy if that is
    installed. It needs redis-server or valkey-server. Exit code 1 means that a message was lost, or that something else
    was not as it has to be.
    """
    configure_logging(Log(level="warning"))
    if nodes is not None:
        _demonstrate_nodes(nodes, port, ic_port, generation, knobs, once=once)
        return
    stage = Stage(free_port(port), free_port(ic_port), generation, conditions_of(knobs))
    try:
        loop.run(_demonstrate(stage, once=once))
    except TimeoutError:
        raise click.ClickException(f"the conversation took longer than {TIMEOUT_S:g} s") from None


def _demonstrate_nodes(
    nodes: int, port: int, ic_port: int, generation: Generation, knobs: Knobs, *, once: bool
) -> None:
    """Raises ClickException."""
    from appliance.cli.develop.several_nodes.programs import engine_program, find_program  # noqa: PLC0415 - see below
    from appliance.cli.develop.several_nodes.stage import Wanted  # noqa: PLC0415 - most demonstrations have one node
    from appliance.cli.develop.several_nodes.story import demonstrate  # noqa: PLC0415

    if generation != "v2":
        raise click.UsageError("several nodes are shown with clients of v2; leave --generation out")
    wanted = Wanted(
        engine=engine_program(),
        balancer=find_program("haproxy"),
        port=free_port(port),
        ic_port=free_port(ic_port),
        conditions=conditions_of({**knobs, "like_mainnet": True}),
        nodes=nodes,
    )
    loop.run(demonstrate(wanted, once=once))


class Stage(NamedTuple):
    """The ports of the gateway and of the local IC, the wire generation, and the conditions of the local IC."""

    port: int
    ic_port: int
    generation: Generation
    conditions: Conditions


async def _demonstrate(stage: Stage, *, once: bool) -> None:
    async with _set_up(stage) as (net, canister, service):
        url = service.url if stage.generation == "v2" else f"{service.url}/{stage.generation}"
        async with asyncio.timeout(TIMEOUT_S):
            await _conversation(net, canister, url)
            await _check_closed(net, canister, service)
        if not once:
            await _keep_serving(net, canister, url)


async def _keep_serving(net: Localnet, canister: Principal, url: str) -> None:
    with loop.interrupts() as interrupted:
        echo("\nThe gateway keeps running; Ctrl-C stops it. Connect to the canister from another terminal:\n")
        echo(f"  {_program()} connect {url} {canister!s} --network {net.url}\n")
        if CHAT_SOURCE.is_dir():
            echo("`make chat` opens a chat for browser tabs, at other ports while this runs.\n")
        await interrupted.wait()
    echo("\nstopped")


@asynccontextmanager
async def _set_up(stage: Stage) -> AsyncIterator[tuple[Localnet, Principal, Service]]:
    """Start a local IC, a canister and a gateway."""
    with tempfile.TemporaryDirectory(prefix="icws-demo-") as folder:
        key_file = Path(folder, "identity.pem")
        gateway = create_identity(key_file).principal
        async with Localnet(port=stage.ic_port, conditions=stage.conditions) as net:
            _step("Local IC", f"{net.url}, an Internet Computer in this process with BLS keys made just now")
            _detail(f"root key …{net.root_key.hex()[-16:]}, delegating to subnet {net.subnet_id!s}")
            for phrase in describe(stage.conditions):
                _detail(phrase)
            canister = net.create_canister(PingPong(generation=stage.generation, gateway=gateway))
            _step("Canister", f"{canister!s} answers each message and certifies its answers")
            _detail(f"wire generation {stage.generation}")
            config = Config(
                gateway=Gateway(listen=f"127.0.0.1:{stage.port}", identity=key_file, max_connections=LOCAL_CONNECTIONS),
                network=Network(url=[net.url], root_key=net.root_key.hex()),
                canisters=[Canister(id=canister, name="ping-pong", generation=[stage.generation])],
            )
            async with serving(config) as service:
                _step("Gateway", f"{service.url} serves this canister")
                _detail(f"Gateway Agent principal: {service.principal!s}")
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
        _detail(f"{opening}; the gateway verifies signature and sender before it registers the client")
        _detail(f"the canister accepted it: session open after {_ms(started)}")
        _show_message(await client.receive())
        for text in ("hello", "and good-bye"):
            await _round_trip(client, text)


async def _round_trip(client: Connection[Any], text: str) -> None:
    started = time.perf_counter()
    await client.send({"text": text, "timestamp": time.time_ns()})
    _step("Client → canister", f"“{text}”, signed by the client, relayed by the gateway byte for byte")
    message = await client.receive()
    if _text(message) != f"{text} ping":
        raise click.ClickException(f"the canister answered “{text}” with “{_text(message)}”")
    _show_message(message)
    _detail(f"round trip {_ms(started)}")


def _show_message(message: Message[Any]) -> None:
    _step("Canister → client", f"“{_text(message)}”, message {message.sequence_num} of this session")
    _detail("BLS certificate, witness and content verified by the gateway, and again by the client")


async def _check_closed(net: Localnet, canister: Principal, service: Service) -> None:
    while service.gateway.pending_close_calls:  # noqa: ASYNC110 - polling is enough here
        await asyncio.sleep(0.01)
    async with HttpTransport([net.url], timeout_s=TIMEOUT_S, max_reply=65536) as transport:
        agent = Agent(transport, AnonymousIdentity(), Verifier(net.root_key))
        # A query may meet a replica that is blocks behind the one that executed ws_close.
        for _ in range(MAX_LOOKS):
            (left,) = _COUNT.decode(await agent.query(canister, "clients_connected", CandidTypes("()").encode()))
            if not left:
                break
            await asyncio.sleep(0.1)
    if left:
        raise click.ClickException(f"the canister still has {left} clients after the client closed")
    _step("Close", "the client closed its socket, the gateway called ws_close: the canister has 0 clients")


def _program() -> str:
    """What to type for this program: as it was typed now, if it was."""
    return sys.argv[0] if Path(sys.argv[0]).name == PROGRAM else PROGRAM


def _text(message: Message[Any]) -> str:
    if not isinstance(message.value, dict):
        raise GatewayError
    return str(message.value["text"])


def _ms(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"


def _step(who: str, what: str) -> None:
    echo(f"{styled(f'{who:<18}', bold=True)} {what}")


def _detail(what: str) -> None:
    echo(f"{'':<18} {what}")
