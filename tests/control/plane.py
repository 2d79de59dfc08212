"""A gateway with its control plane, on real sockets, around a localnet with one canister."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from appliance.client import Connection, connect
from appliance.config.source import Source, start
from appliance.control.models import LogLevel, Role
from appliance.control.page.routes import page_routes
from appliance.control.plane import control_plane
from appliance.control.ports import Control
from appliance.control.reload import Reloads
from appliance.control.tokens import Grant, Tokens, hash_token
from appliance.crypto import Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.identity import load_or_create_identity
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import APP_MESSAGE, PingPong

SECRETS: dict[Role, str] = {role: f"icws_{role}" for role in ("viewer", "operator", "admin")}
"""Tokens over TCP."""
OTHER = "rrkah-fqaaa-aaaaa-aaaaq-cai"
"""A canister that is not listed."""


@dataclass
class LogLevels:
    level: LogLevel = "info"

    def set_level(self, level: LogLevel) -> None:
        self.level = level


@dataclass
class Plane:
    control: Control
    localnet: Localnet
    canister_id: Principal
    file: Path
    http: httpx.AsyncClient
    """As whoever may open the Unix socket, or with the admin's token."""

    @property
    def gateway(self) -> Gateway:
        return self.control.gateway

    @property
    def reloads(self) -> Reloads:
        return self.control.reloads

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Somebody else who asks the API."""
        return client(self.control.url, token, **headers)

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Connection]:
        """A session of the canister."""
        settings: dict[str, Any] = {"network_url": self.localnet.url, "message_type": APP_MESSAGE, **options}
        return connect(f"{self.control.listener.url}/v2", self.canister_id, **settings)

    async def get(self, path: str, **query: Any) -> Any:
        """What is at a path."""
        return self.read(await self.http.get(path, params=query))

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """What comes of a change."""
        return self.read(await self.http.post(path, json=body, headers=headers))

    def read(self, response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()


def client(url: str, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if url.startswith("unix:"):
        transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix:"))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=30)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


def text_of(localnet: Localnet, canister_id: Principal, listen: str, more: str) -> str:
    return f"""\
version: 1
gateway: {{listen: "127.0.0.1:0"}}
network: {{url: "{localnet.url}", root_key: "{localnet.root_key.hex()}"}}
polling: {{min_interval: 5ms, max_interval: 20ms}}
watch: false
# those that we serve
canisters:
  - id: {canister_id}  # the first
    name: chat
control:
  listen: {listen}
  tokens: tokens
{more}"""


@asynccontextmanager
async def running(*, tcp: bool = False, more: str = "") -> AsyncIterator[Plane]:
    """Everything; ``more`` is appended to ``gateway.yaml``, and begins within ``control``."""
    with tempfile.TemporaryDirectory(prefix="icws") as name:
        folder = Path(name)
        async with Localnet() as localnet:
            identity = load_or_create_identity(folder / "data/identity.pem")
            canister_id = localnet.create_canister(PingPong(gateway=identity.principal))
            file = folder / "gateway.yaml"
            file.write_text(text_of(localnet, canister_id, "127.0.0.1:0" if tcp else "unix:control.sock", more))
            grants = [Grant(role, role, hash_token(secret)) for role, secret in SECRETS.items()]
            (folder / "tokens").write_text("".join(f"{grant}\n" for grant in grants))
            async with _around(localnet, canister_id, file, is_tcp=tcp) as plane:
                yield plane


@asynccontextmanager
async def _around(localnet: Localnet, canister_id: Principal, file: Path, *, is_tcp: bool) -> AsyncIterator[Plane]:
    begun = start(Source(file))
    config = begun.loaded.config
    identity = load_or_create_identity(config.gateway.identity)
    verifier = Verifier(localnet.root_key)
    tokens = Tokens(config.control.tokens)
    async with HttpTransport(config.network.url, timeout_s=15, max_reply=4 * 1024**2) as transport:
        agent = Agent(transport, identity, verifier)
        gateway = Gateway(config, ic=agent, verifier=verifier, principal=identity.principal)
        async with (
            gateway,
            Listener(gateway) as listener,
            Reloads(begun, [gateway, listener, tokens]) as reloads,
            control_plane(
                gateway,
                listener,
                reloads,
                tokens=tokens,
                ic=agent,
                log=LogLevels(),
                version="0.0.0",
                metrics=lambda: b"# EOF\n",
                page=page_routes(),
            ) as control,
        ):
            control.health.started = True
            async with client(control.url, SECRETS["admin"] if is_tcp else None) as http:
                yield Plane(control, localnet, canister_id, file, http)
