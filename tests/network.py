"""A whole network in one process: localnet, gateway and listener, on loopback ports."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from appliance.client import connect
from appliance.config.schema import Config
from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Canister
from appliance.localnet.net import Localnet
from appliance.localnet.state.clock import Clock
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong

Generation = Literal["v0", "v1", "v2"]
Make = Callable[[Principal], Canister]


@dataclass(frozen=True)
class Network:
    """What clients need to know, and what tests look at."""

    localnet: Localnet
    gateway: Gateway
    listener: Listener
    canister_id: Principal
    generation: str

    async def connected(self) -> int:
        """How many clients the ping-pong canister counts."""
        async with HttpTransport([self.localnet.url], timeout_s=15, max_reply=1 << 20) as transport:
            agent = Agent(transport, AnonymousIdentity(), Verifier(self.localnet.root_key))
            reply = await agent.query(self.canister_id, "clients_connected", CandidTypes("()").encode())
        (count,) = CandidTypes("(nat64)").decode(reply)
        assert isinstance(count, int)
        return count

    @property
    def url(self) -> str:
        """Of the gateway, with the path of the canister's wire generation."""
        return f"{self.listener.url}/{self.generation}"

    def connect(self, **options: Any) -> connect[Any]:
        """A client of ours."""
        settings: dict[str, Any] = {"network_url": self.localnet.url}
        if self.generation != "v0":
            settings["message_type"] = APP_MESSAGE
        return connect(self.url, self.canister_id, **{**settings, **options})


@asynccontextmanager
async def running(
    canister: Make | Canister | None = None,
    *,
    arg: bytes | Callable[[Principal], bytes] = b"",
    generation: Generation = "v2",
    subnet: bool = True,
    clock: Clock | None = None,
    conditions: Conditions | None = None,
    **sections: Any,
) -> AsyncIterator[Network]:
    """Start everything around a canister of a wire generation: ping-pong, the one given, or the one that is made for a
    gateway's principal, installed with `arg`, which may be made for that principal, too. `clock` and `conditions` are
    the localnet's, `sections` are those of ``gateway.yaml``.
    """
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    if clock is not None:  # the gateway's clock goes on as it does, and nodes sign with the time of theirs
        sections.setdefault("verification", {"max_query_age": 3600.0})
    async with Localnet(subnet=subnet, clock=clock, conditions=conditions) as localnet:
        if canister is None:
            canister = PingPong(generation=generation, gateway=identity.principal)
        elif callable(canister):
            canister = canister(identity.principal)
        made_arg = arg(identity.principal) if callable(arg) else arg
        canister_id = localnet.create_canister(canister, arg=made_arg)
        async with serving(localnet, canister_id, generation, identity, **sections) as network:
            yield network


def mainnet_like(
    seed: int,
    canister: Make | Canister | None = None,
    *,
    faster: float = 10,
    generation: Generation = "v2",
    **sections: Any,
) -> AbstractAsyncContextManager[Network]:
    """The same on a localnet like the mainnet, in real time with every time of the network divided by ``faster``: by
    default blocks of 100 ms, round trips of 10 ms, gossip of 2 to 8 ms, and 202 after 1 s.

    The gateway polls with the defaults of ``gateway.yaml``; times in ``sections`` are not divided. Equal seeds draw the
    same delays and replicas for equal requests in the same order, but the order of requests in real time is not ours.
    """
    conditions = Conditions.like_mainnet(seed.to_bytes(8, "big")).faster(faster)
    return running(canister, generation=generation, conditions=conditions, **{"polling": {}, **sections})


@asynccontextmanager
async def serving(
    localnet: Localnet, canister_id: Principal, generation: Generation, identity: KeyIdentity, **sections: Any
) -> AsyncIterator[Network]:
    """A gateway in front of a canister of a localnet."""
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
        agent = Agent(transport, identity, verifier)
        gateway = Gateway(config, ic=agent, verifier=verifier, principal=identity.principal)
        async with gateway, Listener(gateway) as listener:
            yield Network(localnet, gateway, listener, canister_id, generation)
