"""Clients of v0: known to the canister before their socket is open."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appliance.client import Backoff, ConnectFailed, KeyIdentity, Limits, SigningKey, connect
from appliance.client.sessions.v0 import client_key_of
from appliance.errors import CanisterRefused, ConfigError, IcUnreachable, KeyUnusable, OpenTimeout, Rejected
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.principal import ANONYMOUS, Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.canister import Client, Result
from appliance.localnet.websocket.pingpong import PingPong
from tests.network import Network, running


class Attentive(PingPong):
    """Remembers who registered which key and how messages came, and can be told to refuse."""

    def __init__(self, gateway: Principal) -> None:
        super().__init__(generation="v0", gateway=gateway)
        self.registered: list[tuple[Principal, bytes]] = []
        self.ways: list[str] = []
        self.heard: list[Client] = []
        self.refuses_direct = False

    def ws_register(self, env: Environment, args: Any) -> Result:
        self.registered.append((env.caller, args["client_key"]))
        return super().ws_register(env, args)

    def ws_message(self, env: Environment, args: Any, *more: Any) -> Result:
        (way,) = args["msg"]
        if self.refuses_direct and way == "DirectlyFromClient":
            raise Trap("not now")
        self.ways.append(way)
        return super().ws_message(env, args, *more)

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        self.heard.append(client)
        super().on_message(env, client, message)


@pytest.fixture
async def stage() -> AsyncIterator[tuple[Network, Attentive]]:
    made: list[Attentive] = []

    def make(gateway: Principal) -> Attentive:
        made.append(Attentive(gateway))
        return made[0]

    async with running(make, generation="v0") as network:
        yield network, made[0]


Stage = tuple[Network, Attentive]


async def test_a_fresh_key_is_registered_by_the_identity(stage: Stage) -> None:
    network, canister = stage
    identity = KeyIdentity(SigningKey.generate("secp256k1"))
    for _ in range(2):
        async with network.connect(identity=identity) as connection:
            await connection.send({"text": "x", "timestamp": 0})
            assert [(await connection.receive()).value["text"] for _ in range(2)] == ["ping", "x ping"]
            assert connection.principal == identity.principal
    callers, keys = zip(*canister.registered, strict=True)
    assert set(callers) == {identity.principal}
    assert len(set(keys)) == 2
    assert canister.heard == list(keys)
    assert set(canister.ways) == {"IcWebSocketEstablished", "RelayedByGateway"}


async def test_a_key_that_is_given_is_the_clients_name(stage: Stage) -> None:
    network, canister = stage
    key = SigningKey.generate("ed25519")
    async with network.connect(client_key=key) as connection:
        await connection.receive()
    assert [registered for _, registered in canister.registered] == [client_key_of(key)]
    assert canister.registered[0][0] != ANONYMOUS


async def test_nobody_in_particular_may_register(stage: Stage) -> None:
    network, canister = stage
    async with network.connect(identity=AnonymousIdentity()) as connection:
        await connection.receive()
    assert canister.registered[0][0] == ANONYMOUS


async def test_messages_may_go_straight_to_the_canister_in_their_order(stage: Stage) -> None:
    network, canister = stage
    async with network.connect(direct=True) as connection:
        texts = [str(number) for number in range(5)]
        await asyncio.gather(*(connection.send({"text": text, "timestamp": 0}) for text in texts))
        assert connection.unacknowledged == []
        answers = [(await connection.receive()).value["text"] for _ in range(6)]
    # The greeting answers the gateway's call, which is on its way beside the messages that go past the gateway.
    assert [text for text in answers if text != "ping"] == [f"{text} ping" for text in texts]
    assert sorted(canister.ways) == [*["DirectlyFromClient"] * 5, "IcWebSocketEstablished"]


async def test_what_the_canister_says_to_a_direct_message_is_raised_and_the_session_goes_on(stage: Stage) -> None:
    network, canister = stage
    async with network.connect(direct=True) as connection:
        canister.refuses_direct = True
        with pytest.raises(Rejected, match="not now"):
            await connection.send({"text": "x", "timestamp": 0})
        canister.refuses_direct = False
        await connection.send({"text": "close", "timestamp": 0})
        with pytest.raises(CanisterRefused, match="ws_message"):
            await connection.send({"text": "still there?", "timestamp": 0})


@pytest.mark.parametrize("key", [None, SigningKey.generate("ed25519")])
async def test_each_session_is_registered(stage: Stage, key: SigningKey | None) -> None:
    network, canister = stage
    async with network.connect(client_key=key, reconnect=Backoff(first=0.01)) as connection:
        await connection.receive()
        network.localnet.reinstall_canister(network.canister_id, canister)
        await connection.send({"text": "who am I?", "timestamp": 0})
        assert (await connection.receive()).session == 2
    keys = [registered for _, registered in canister.registered]
    assert len(keys) >= 2
    assert set(keys) == {client_key_of(key)} if key else len(set(keys)) == len(keys)


async def test_a_canister_that_does_not_register_is_not_opened(stage: Stage) -> None:
    network, _ = stage
    other = network.localnet.create_canister(PingPong())
    with pytest.raises(Rejected, match="ws_register"):
        async with connect(network.url, other, network_url=network.localnet.url):
            pass


async def test_without_the_ic_there_is_no_session(stage: Stage) -> None:
    network, _ = stage
    async with Localnet() as gone:
        pass
    patience = Limits(open_ns=1_000_000)
    with pytest.raises(OpenTimeout, match="ws_register"):
        async with network.connect(network_url=gone.url, root_key=network.localnet.root_key, limits=patience):
            pass


async def test_the_answer_of_another_network_is_no_answer(stage: Stage) -> None:
    network, _ = stage
    async with Localnet() as other:
        with pytest.raises(IcUnreachable, match="signature"):
            async with network.connect(root_key=other.root_key):
                pass


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"network_url": None}, ConfigError, "network_url"),
        ({"message_type": "text"}, ConfigError, "message_type"),
        ({"client_key": SigningKey.generate("secp256k1")}, KeyUnusable, "secp256k1"),
        ({"generation": "v1"}, ConfigError, "path of .* is that of v0"),
    ],
)
async def test_arguments_that_v0_does_not_have(
    stage: Stage, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    network, canister = stage
    with pytest.raises(error, match=sentence):
        async with network.connect(**options):
            pass
    assert canister.registered == []


async def test_a_gateway_that_is_not_there_is_found_out_after_the_registration(stage: Stage) -> None:
    network, canister = stage
    with pytest.raises(ConnectFailed):
        async with connect("ws://127.0.0.1:9/v0", network.canister_id, network_url=network.localnet.url):
            pass
    assert len(canister.registered) == 1
