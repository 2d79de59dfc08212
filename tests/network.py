"""A whole network in one process: localnet, gateway and listener, on loopback ports."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from appliance.client import Connection, connect
from appliance.config.schema import Config
from appliance.crypto import SigningKey, Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.localnet.clock import Clock
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import APP_MESSAGE, PingPong
from appliance.localnet.websocket_canister import WebSocketCanister

Generation = Literal["v0", "v1", "v2"]
Make = Callable[[Principal], WebSocketCanister]


@dataclass(frozen=True)
class Network:
    """What clients need to know, and what tests look at."""

    localnet: Localnet
    gateway: Gateway
    listener: Listener
    canister_id: Principal
    generation: str

    @property
    def url(self) -> str:
        """Of the gateway, with the path of the canister's wire generation."""
        return f"{self.listener.url}/{self.generation}"

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Connection]:
        """A client of ours."""
        settings: dict[str, Any] = {"network_url": self.localnet.url}
        if self.generation != "v0":
            settings["message_type"] = APP_MESSAGE
        return connect(self.url, self.canister_id, **{**settings, **options})


@asynccontextmanager
async def running(
    canister: Make | WebSocketCanister | None = None,
    *,
    generation: Generation = "v2",
    subnet: bool = False,
    clock: Clock | None = None,
    **sections: Any,
) -> AsyncIterator[Network]:
    """Start everything around a canister of a wire generation: ping-pong, the one given, or the one that is made for a
    gateway's principal. `clock` is the localnet's, `sections` are those of ``gateway.yaml``.
    """
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    async with Localnet(subnet=subnet, clock=clock) as localnet:
        if canister is None:
            canister = PingPong(generation=generation, gateway=identity.principal)
        elif not isinstance(canister, WebSocketCanister):
            canister = canister(identity.principal)
        canister_id = localnet.create_canister(canister)
        config = Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0"},
                "polling": {"min_interval": 0.005, "max_interval": 0.02},
                "canisters": [{"id": str(canister_id), "generation": generation}],
                **sections,
            }
        )
        verifier = Verifier(localnet.root_key)
        async with HttpTransport([localnet.url], timeout_s=15, max_reply=4 * 1024**2) as transport:
            gateway = Gateway(
                config, ic=Agent(transport, identity, verifier), verifier=verifier, principal=identity.principal
            )
            async with gateway, Listener(gateway) as listener:
                yield Network(localnet, gateway, listener, canister_id, generation)
