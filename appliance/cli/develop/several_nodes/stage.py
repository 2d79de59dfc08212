"""Everything on one machine: a local IC, an engine, nodes, a balancer, and clients."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from appliance.cli.develop.local_gateway import SOCKET_PATH_BYTES
from appliance.cli.develop.several_nodes.balancer import Balancer
from appliance.cli.develop.several_nodes.canister import CountingPingPong
from appliance.cli.develop.several_nodes.clients import Talker, Where
from appliance.cli.develop.several_nodes.nodes import GatewayNode
from appliance.cli.develop.several_nodes.programs import Program
from appliance.crypto import Verifier
from appliance.ic.key_file import create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.subnet.conditions import Conditions

PATIENCE_S = 60.0
"""For anything that has to happen; most of it takes a few seconds."""
_LOOK_S = 0.05


@dataclass(frozen=True)
class Wanted:
    """What to set up: programs by their paths, ports (0: any), the conditions of the local IC, how many nodes."""

    engine: str
    balancer: str | None
    port: int
    ic_port: int
    conditions: Conditions
    nodes: int


@dataclass
class Stage:
    """All that runs."""

    net: Localnet
    canister_id: Principal
    canister: CountingPingPong
    gateway: Principal
    engine: Program
    engine_url: str
    nodes: dict[str, GatewayNode]
    balancer: Balancer | None
    identity: Path
    talkers: list[Talker] = field(default_factory=list)
    _talking: list["asyncio.Task[None]"] = field(default_factory=list)

    @property
    def programs(self) -> list[Program]:
        """What has to be running: in the order in which it is ended."""
        balancing = [] if self.balancer is None else [self.balancer.program]
        return [*balancing, *(node.program for node in self.nodes.values()), self.engine]

    def where(self, first: str) -> Where:
        """Where a client connects: to the balancer, or else to one node after the other, beginning with this one."""
        names = list(self.nodes)
        at = names.index(first)
        each = [self.nodes[name].url for name in names[at:] + names[:at]]
        urls = each if self.balancer is None else [self.balancer.url]
        return Where(urls, self.canister_id, Verifier(self.net.root_key))

    async def start(self, name: str) -> None:
        """Start a node, and wait until it has joined the others that run. Raises ClickException."""
        node = self.nodes[name]
        node.configure(self.net, self.canister_id, identity=self.identity, engine=self.engine_url)
        node.program.start()
        await self.until(node.find_url, f"node {name} answers", node.program)

    async def until_joined(self) -> None:
        """Wait until each node that runs knows the others. Raises ClickException."""
        running = {name for name, node in self.nodes.items() if node.program.is_running}
        for name in sorted(running):
            await self.until(partial(_knows, self.nodes[name], running), f"node {name} has joined")

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, *needed: Program) -> None:
        """Wait for a condition. Raises ClickException where it does not come, or a program has ended that is needed."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not await condition():
            for program in needed:
                if not program.is_running:
                    raise click.ClickException(f"{program.name} has ended:\n{program.last_lines}")
            if time.monotonic() > give_up_at:
                running = [program for program in self.programs if program.is_running]
                logs = "\n".join(f"{program.name} wrote at last:\n{program.last_lines}" for program in running)
                raise click.ClickException(f"it took more than {PATIENCE_S:g} s until {what}\n{logs}")
            await asyncio.sleep(_LOOK_S)

    def talk(self, name: str, first: str | None = None) -> Talker:
        """Add a client. Without a balancer it begins with this node, or else with the next one in turn."""
        in_turn = list(self.nodes)[len(self.talkers) % len(self.nodes)]
        talker = Talker(name, self.where(first or in_turn))
        self.talkers.append(talker)
        self._talking.append(asyncio.create_task(talker.run(), name=f"client {name}"))
        return talker

    async def end_clients(self) -> None:
        """Close all sessions."""
        for talker in self.talkers:
            await talker.close()
        await asyncio.gather(*self._talking)

    async def stop(self) -> None:
        """End everything, in the order in which nothing misses anything."""
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        if self.balancer is not None:
            await self.balancer.stop()
        await asyncio.gather(*(node.program.stop() for node in self.nodes.values()))
        await self.engine.stop()


async def _knows(node: GatewayNode, names: set[str]) -> bool:
    found = await node.nodes()
    return (
        found is not None and found.engine == "joined" and {n.name for n in found.items if n.state == "alive"} >= names
    )


@asynccontextmanager
async def staged(wanted: Wanted) -> AsyncIterator[Stage]:
    """Set everything up but the nodes, and end everything with the block. Raises ClickException, and OSError for a port
    that is taken."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="icws-demo-")))
        if len(os.fsencode(folder / "a" / "control.sock")) > SOCKET_PATH_BYTES:
            raise click.ClickException(f"the path of {folder} is too long for Unix sockets; try TMPDIR=/tmp")
        gateway = create_identity(folder / "identity.pem").principal
        net = await stack.enter_async_context(Localnet(port=wanted.ic_port, conditions=wanted.conditions))
        canister = CountingPingPong()
        names = [chr(ord("a") + number) for number in range(wanted.nodes)]
        for name in names:
            (folder / name).mkdir()
        stage = Stage(
            net=net,
            canister_id=net.create_canister(canister),
            canister=canister,
            gateway=gateway,
            engine=_engine(wanted.engine, folder),
            engine_url=f"unix://{folder / 'redis.sock'}",
            nodes={name: GatewayNode(name, folder / name) for name in names},
            balancer=None if wanted.balancer is None else Balancer(wanted.balancer, folder, wanted.port),
            identity=folder / "identity.pem",
        )
        stack.push_async_callback(stage.stop)
        stage.engine.start()
        yield stage


def _engine(program: str, folder: Path) -> Program:
    """Redis or Valkey with nothing on the disk and no port."""
    options = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", "", "--dir", str(folder)]
    return Program("the engine", [program, *options], folder / "redis.log")
