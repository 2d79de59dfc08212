"""Our client, the gateway and a canister on the localnet, in every wire generation: over sockets, and machine to
machine without any."""

import asyncio
from typing import Any

import pytest

from appliance.client import (
    Backoff,
    Change,
    ClosedByApplication,
    ConnectionClosed,
    DelegatedIdentity,
    KeyIdentity,
    Lost,
    MessageUntrusted,
    SigningKey,
    delegate,
)
from appliance.client.codec import Codec, codec_for
from appliance.client.sessions.session import Event, Generation, Opened, Session
from appliance.client.sessions.v0 import SessionV0, registration
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import Verifier
from appliance.errors import SignatureInvalid
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.localnet.net import Localnet
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.websocket.canister import WsInitParams
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.client.canister import SECOND_NS
from tests.client.conversation import Conversation, received
from tests.network import running

GENERATIONS: tuple[Generation, ...] = ("v0", "v1", "v2")


class Talk:
    """A conversation of one generation, and what is said in it."""

    def __init__(self, generation: Generation, net: Localnet, clock: ManualClock, agent: Agent) -> None:
        params = WsInitParams() if generation == "v0" else WsInitParams(send_ack_interval_ms=61_000)
        canister = PingPong(params, generation=generation, gateway=agent.principal)
        self.canister_id = net.create_canister(canister)
        self.codec: Codec = codec_for(generation, None if generation == "v0" else APP_MESSAGE, None)
        self._agent = agent
        verifier = Verifier(net.root_key)
        self.client: Session
        self.key = SigningKey.generate("ed25519")
        now_ns = clock.now_ns()
        if generation == "v0":
            self.client = SessionV0(self.canister_id, self.key, verifier, now_ns=now_ns)
        else:
            session = SessionV1 if generation == "v1" else SessionV2
            identity = KeyIdentity(SigningKey.generate("secp256k1"))
            self.client = session(self.canister_id, identity, verifier, client_nonce=7, now_ns=now_ns)
        self.between = Conversation(
            self.client, canister_id=self.canister_id, agent=agent, verifier=verifier, clock=clock
        )

    async def open(self) -> list[Event]:
        if self.client.generation == "v0":
            await self._agent.call(self.canister_id, "ws_register", registration(self.key))
        return await self.between.open()

    async def say(self, text: str) -> list[str]:
        return self.texts(await self.between.say(self.codec.encode({"text": text, "timestamp": 0})))

    def texts(self, events: list[Event]) -> list[str]:
        return [self.codec.decode(content)["text"] for content in received(events)]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_the_three_machines_understand_each_other(generation: Generation) -> None:
    clock = ManualClock(1_800_000_000 * SECOND_NS)
    async with Localnet(clock=clock) as net, HttpTransport([net.url], timeout_s=15, max_reply=1 << 22) as transport:
        identity = KeyIdentity(SigningKey.generate("ed25519"))
        talk = Talk(generation, net, clock, Agent(transport, identity, Verifier(net.root_key), clock=clock.now_ns))
        events = await talk.open()
        assert events[0] == Opened()
        assert talk.texts(events) == ["ping"]
        for number in range(20):
            assert await talk.say(f"round {number}") == [f"round {number} ping"]
        clock.advance(61 * SECOND_NS)
        await net.replica.settle()
        if generation != "v0":
            assert talk.client.unacknowledged == 20
            await talk.between.down()
            assert talk.client.unacknowledged == 1  # the sign of life itself
        assert await talk.say("still here") == ["still here ping"]
        if generation == "v2":
            with pytest.raises(ClosedByApplication):
                await talk.say("close")


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("subnet", [False, True])
async def test_round_trips_over_sockets(generation: Generation, subnet: bool) -> None:
    async with running(generation=generation, subnet=subnet) as network:
        async with network.connect() as connection:
            assert (await connection.receive()).value["text"] == "ping"
            for number in range(20):
                await connection.send({"text": str(number), "timestamp": number})
                assert (await connection.receive()).value["text"] == f"{number} ping"
        await network.gateway.stop()
        assert network.gateway.counters.farewells == 1


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_senders_at_the_same_time_keep_one_order(generation: Generation) -> None:
    async with running(generation=generation) as network, network.connect() as connection:
        await connection.receive()
        await asyncio.gather(*(connection.send({"text": str(number), "timestamp": 0}) for number in range(50)))
        answers = [(await connection.receive()).value["text"] for _ in range(50)]
        assert answers == [f"{number} ping" for number in range(50)]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_canister_that_forgets_its_clients_gets_them_back(generation: Generation) -> None:
    async with running(generation=generation) as network:
        changes: list[Change] = []
        async with network.connect(reconnect=Backoff(first=0.01), on_change=changes.append) as connection:
            assert (await connection.receive()).session == 1
            anew = PingPong(generation=generation, gateway=network.gateway.principal)
            network.localnet.reinstall_canister(network.canister_id, anew)
            await connection.send({"text": "who am I?", "timestamp": 0})
            message = await connection.receive()
            assert (message.session, message.value["text"]) == (2, "ping")
            await connection.send({"text": "again", "timestamp": 0})
            assert (await connection.receive()).value["text"] == "again ping"
        lost = changes[0]
        assert isinstance(lost, Lost)
        assert lost.unacknowledged == ({"text": "who am I?", "timestamp": 0},)


@pytest.mark.parametrize("generation", ["v0", "v1"])
async def test_a_canister_without_a_word_for_closing_is_noticed_by_the_next_message(generation: Generation) -> None:
    async with running(generation=generation) as network, network.connect() as connection:
        await connection.receive()
        await connection.send({"text": "close", "timestamp": 0})
        await connection.send({"text": "are you there?", "timestamp": 0})
        with pytest.raises(ConnectionClosed, match="4102"):
            await connection.receive()


async def test_the_application_closes() -> None:
    async with running() as network, network.connect() as connection:
        await connection.send({"text": "close", "timestamp": 0})
        assert [message.value["text"] async for message in connection] == ["ping"]
        with pytest.raises(ClosedByApplication):
            await connection.receive()


# --- identities -----------------------------------------------------------------------------------------------------


class Foreign:
    """An identity with the interface of ic-py's, and nothing more."""

    def __init__(self, key: SigningKey) -> None:
        self._key = KeyIdentity(key)

    def sender(self) -> object:
        return type("Principal", (), {"bytes": bytes(self._key.principal)})()

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        return self._key.public_key, self._key.sign(message)


def own(scheme: Any) -> KeyIdentity:
    return KeyIdentity(SigningKey.generate(scheme))


def delegated(network: Any) -> DelegatedIdentity:
    """A session key that may sign for a user, for this canister, for an hour."""
    user, session = own("prime256v1"), own("ed25519")
    expiration_ns = network.gateway.clock() + 3600 * SECOND_NS
    link = delegate(user, session.public_key, expiration_ns=expiration_ns, targets=[network.canister_id])
    return DelegatedIdentity(session, user.public_key, [link])


IDENTITIES = {
    "ed25519": lambda _: own("ed25519"),
    "secp256k1": lambda _: own("secp256k1"),
    "prime256v1": lambda _: own("prime256v1"),
    "delegated": delegated,
    "foreign": lambda _: Foreign(SigningKey.generate("secp256k1")),
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("kind", IDENTITIES)
async def test_every_identity_is_taken(kind: str, generation: Generation) -> None:
    async with running(generation=generation) as network:
        identity = IDENTITIES[kind](network)
        async with network.connect(identity=identity) as connection:
            await connection.send({"text": kind, "timestamp": 0})
            assert [(await connection.receive()).value["text"] for _ in range(2)] == ["ping", f"{kind} ping"]
            sender = identity.sender().bytes if isinstance(identity, Foreign) else identity.principal
            assert connection.principal == sender


class Forger(KeyIdentity):
    """Signs something else than it is asked to."""

    def sign(self, message: bytes) -> bytes:
        return super().sign(message + b"?")


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_a_wrong_signature_is_refused_by_the_gateway_with_its_code(generation: Generation) -> None:
    async with running(generation=generation) as network:
        with pytest.raises(ConnectionClosed, match="signature") as caught:
            async with network.connect(identity=Forger(SigningKey.generate("ed25519"))):
                pass
        assert caught.value.code == SignatureInvalid.close_code
        assert not caught.value.come_back


# --- who is not who it should be ------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_messages_of_another_network_are_refused(generation: Generation) -> None:
    async with running(generation=generation) as network, Localnet() as other:
        with pytest.raises(MessageUntrusted):
            async with network.connect(network_url=other.url):
                pass


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_canister_that_is_not_served_is_named(generation: Generation) -> None:
    async with running(generation=generation, canisters=[]) as network:
        with pytest.raises(ConnectionClosed, match=str(network.canister_id)):
            async with network.connect():
                pass
