"""Whole gateways of one cluster, each with its API: a localnet, a real Redis, everything on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from appliance.client import Connection, connect
from appliance.cluster.node import Node
from appliance.config.source import Source, start
from appliance.control.control import Control
from appliance.ic.key_file import load_or_create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.service import operating
from tests.control.plane import _logging_kept, client


@dataclass
class NodePlane:
    """A node, and its API as an admin asks it."""

    name: str
    control: Control
    file: Path
    http: httpx.AsyncClient
    canister_id: Principal
    net: Localnet

    @property
    def node(self) -> Node:
        assert isinstance(self.control.node, Node)
        return self.control.node

    def connect(self) -> Any:
        """A session of the canister at this node."""
        url = f"{self.control.listener.url}/v2"
        return connect(url, self.canister_id, network_url=self.net.url, message_type=APP_MESSAGE)

    async def get(self, path: str, **query: Any) -> Any:
        response = await self.http.get(path, params=query)
        assert response.is_success, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        response = await self.http.post(path, json=body, params=query)
        assert response.is_success, response.text
        return response.json()

    async def audited(self) -> list[tuple[str, str, Any]]:
        """Who did what, the newest first."""
        return [(each["actor"], each["action"], each["after"]) for each in (await self.get("/v1/audit"))["items"]]


@asynccontextmanager
async def planes(
    folder: Path, engine: str, names: str = "ab", *, cluster: dict[str, str] | None = None
) -> AsyncIterator[list[NodePlane]]:
    """Nodes that have joined, and can ask each other."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_logging_kept())
        net = await stack.enter_async_context(Localnet())
        identity = load_or_create_identity(folder / "identity.pem")
        canister = net.create_canister(PingPong(gateway=identity.principal))
        facts = {"identity": folder / "identity.pem", "url": net.url, "root_key": net.root_key.hex()}
        found = []
        for name in names:
            (folder / name).mkdir()
            file = folder / name / "gateway.yaml"
            file.write_text(_written(engine, {**(cluster or {}), "node": name}, canister=canister, **facts))
            found.append(await stack.enter_async_context(_plane(file, name, canister, net)))
        await until(lambda: all(each.node.others == len(names) - 1 for each in found))
        await until(lambda: all(each.node.doorbell.problem is None for each in found))
        yield found


TEXT = """\
version: 1
gateway: {{listen: "127.0.0.1:0", identity: {identity}}}
network: {{url: "{url}", root_key: "{root_key}"}}
polling: {{min_interval: 5ms, max_interval: 20ms}}
watch: false
canisters:
  - id: {canister}
    name: chat
control: {{listen: "unix:control.sock"}}
cluster: {{{cluster}}}
"""


def _written(engine: str, cluster: dict[str, str], **facts: Any) -> str:
    own = {"url": engine, "claim_timeout": "5s", "timeout": "30s", **cluster}
    return TEXT.format(cluster=", ".join(f'{key}: "{value}"' for key, value in own.items()), **facts)


@asynccontextmanager
async def _plane(file: Path, name: str, canister: Principal, net: Localnet) -> AsyncIterator[NodePlane]:
    begun = start(Source(file))
    async with (
        operating(begun, Logging(begun.loaded.config.log)) as (_, control),
        client(control.url, None) as http,
    ):
        yield NodePlane(name, control, file, http, canister, net)


async def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never held"
        await asyncio.sleep(0.002)


__all__ = ["Connection", "NodePlane", "planes", "until"]
