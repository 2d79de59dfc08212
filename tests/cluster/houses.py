"""Two real gateways with one identity, a localnet, and a real Redis: everything on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from appliance.cluster.node import Node
from appliance.config.schema import Config
from appliance.ic.http.transport import HttpTransport
from appliance.ic.key_file import load_or_create_identity
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong
from appliance.service import serving
from tests.network import Generation, Network

SETTINGS = {"claim_timeout": "5s"}
"""An engine that answers late is not what most of these tests are about, and the machine may be busy."""


class House:
    """The localnet with one canister, and nodes that are started by name."""

    def __init__(self, folder: Path, net: Localnet, generation: Generation, engine: str) -> None:
        self.folder = folder
        self.net = net
        self.generation = generation
        self.engine = engine
        self.transports: dict[str, HttpTransport] = {}
        """Of each node that was started."""
        self.identity = load_or_create_identity(folder / "identity.pem")
        self.canister = net.create_canister(PingPong(generation=generation, gateway=self.identity.principal))

    @asynccontextmanager
    async def node(
        self,
        name: str,
        *,
        settle_s: float = 0.0,
        patience: str = "30s",
        share_polls: str = "never",
        **sections: Any,
    ) -> AsyncIterator[Network]:
        """A gateway of the cluster; ``sections`` are those of its file."""
        config = Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0", "identity": self.folder / "identity.pem"},
                "network": {"url": self.net.url, "root_key": self.net.root_key.hex()},
                "polling": {"min_interval": "5ms", "max_interval": "20ms"},
                "canisters": [{"id": str(self.canister), "generation": self.generation}],
                "cluster": {
                    "url": self.engine,
                    "node": name,
                    **SETTINGS,
                    "timeout": patience,
                    "share_polls": share_polls,
                    "audit_interval": "1s",
                },
                **sections,
            }
        )
        async with serving(config) as service:
            self.transports[name] = service.transport
            node_of(service.gateway)._closing.settle_s = settle_s
            yield Network(self.net, service.gateway, service.listener, self.canister, self.generation)


def node_of(gateway: Any) -> Node:
    assert isinstance(gateway.nodes, Node)
    return gateway.nodes


@asynccontextmanager
async def nodes_of(
    names: str, folder: Path, engine: str, generation: Generation = "v2", **sections: Any
) -> AsyncIterator[tuple[House, list[Network]]]:
    """A house with nodes that have joined and know of each other."""
    async with Localnet() as net, AsyncExitStack() as stack:
        house = House(folder, net, generation, engine)
        nodes = [await stack.enter_async_context(house.node(name, **sections)) for name in names]
        await until(lambda: all(node_of(each.gateway).others == len(names) - 1 for each in nodes))
        yield house, nodes


@asynccontextmanager
async def two_nodes(
    folder: Path, engine: str, generation: Generation = "v2", **sections: Any
) -> AsyncIterator[tuple[House, Network, Network]]:
    """A house with two nodes that have joined and know of each other."""
    async with nodes_of("ab", folder, engine, generation, **sections) as (house, (first, second)):
        yield house, first, second


class Thief:
    """Somebody who has a copy of an opening message and no key."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.code: int | None = None

    async def replay(self, network: Network, opening: bytes) -> None:
        """Send the copy to a node, and take what comes until the socket ends."""
        async with connect(network.url, compression=None) as socket:
            if network.generation == "v2":
                await socket.recv()  # the greeting
            await socket.send(opening)
            try:
                while True:
                    self.received.append(await socket.recv())
            except ConnectionClosed as error:
                self.code = error.rcvd and error.rcvd.code


def keeping(player: Any) -> list[bytes]:
    """What this player sends, from now on."""
    kept: list[bytes] = []
    send = player.socket.send

    async def kept_and_sent(frame: bytes) -> None:
        kept.append(frame)
        await send(frame)

    player.socket.send = kept_and_sent
    return kept


async def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never held"
        await asyncio.sleep(0.001)
