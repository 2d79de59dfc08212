"""A gateway with its control plane, on real sockets, around a localnet with one canister."""

import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from appliance.client import Connection, connect
from appliance.config.source import Source, start
from appliance.control.auth.tokens import Grant, hash_token
from appliance.control.control import Control
from appliance.control.models import Role
from appliance.control.reload.reloads import Reloads
from appliance.gateway.gateway import Gateway
from appliance.ic.key_file import load_or_create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.service import operating

SECRETS: dict[Role, str] = {role: f"icws_{role}" for role in ("viewer", "operator", "admin")}
"""Tokens over TCP."""
OTHER = "rrkah-fqaaa-aaaaa-aaaaq-cai"
"""A canister that is not listed."""


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
        transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix:"), verify=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=30)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30, verify=False)  # noqa: S501 - there is no TLS


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
async def running(
    *, tcp: bool = False, more: str = "", edit: Callable[[str], str] = lambda text: text
) -> AsyncIterator[Plane]:
    """Everything. ``more`` is appended to ``gateway.yaml``, of which ``edit`` has the last word."""
    with tempfile.TemporaryDirectory(prefix="icws") as name, _logging_kept():
        folder = Path(name)
        async with Localnet() as localnet:
            identity = load_or_create_identity(folder / "data/identity.pem")
            canister_id = localnet.create_canister(PingPong(gateway=identity.principal))
            file = folder / "gateway.yaml"
            file.write_text(edit(text_of(localnet, canister_id, "127.0.0.1:0" if tcp else "unix:control.sock", more)))
            grants = [Grant(role, role, hash_token(secret)) for role, secret in SECRETS.items()]
            (folder / "tokens").write_text("".join(f"{grant}\n" for grant in grants))
            async with _around(localnet, canister_id, file, is_tcp=tcp) as plane:
                yield plane


@contextmanager
def _logging_kept() -> Iterator[None]:
    """What tests log is theirs again afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@asynccontextmanager
async def _around(localnet: Localnet, canister_id: Principal, file: Path, *, is_tcp: bool) -> AsyncIterator[Plane]:
    begun = start(Source(file))
    async with (
        operating(begun, Logging(begun.loaded.config.log)) as (_, control),
        client(control.url, SECRETS["admin"] if is_tcp else None) as http,
    ):
        yield Plane(control, localnet, canister_id, file, http)
