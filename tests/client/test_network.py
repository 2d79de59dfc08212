"""Our client, the gateway and a canister on the localnet: over sockets, and machine to machine without any."""

import asyncio

import pytest

from appliance.client import ClosedByApplication, ConnectionClosed, MessageUntrusted
from appliance.client.session import Event, Opened, Received
from appliance.client.session import Send as ToGateway
from appliance.client.v2 import SessionV2
from appliance.crypto import CandidTypes, PolledMessage, SigningKey, Verifier
from appliance.errors import SignatureInvalid
from appliance.ic.agent import Agent
from appliance.ic.identity import DelegatedIdentity, KeyIdentity, delegate
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.localnet.clock import ManualClock
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import APP_MESSAGE, PingPong
from appliance.localnet.websocket_canister import WsInitParams
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Relay, Send
from appliance.protocol.session import Terms
from appliance.protocol.v2 import V2
from tests.client.canister import SECOND_NS
from tests.network import running

MESSAGE = CandidTypes(f"({APP_MESSAGE})")
GET_MESSAGES = CandidTypes("(record {nonce: nat64})")


def payload(frame: bytes) -> bytes:
    """Of a frame of the gateway (RFC 6455 section 5.2)."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


class Conversation:
    """Client session, gateway session and canister, with nothing between them but this."""

    def __init__(self, net: Localnet, clock: ManualClock, canister_id: Principal, agent: Agent) -> None:
        self._clock = clock
        self._canister_id = canister_id
        self._agent = agent
        self._verifier = Verifier(net.root_key)
        self._next_nonce = 0
        self.client = SessionV2(
            canister_id,
            KeyIdentity(SigningKey.generate("secp256k1")),
            self._verifier,
            client_nonce=7,
            now_ns=clock.now_ns(),
        )
        self.gateway = V2(Terms(agent.principal, Envelopes(self._verifier, "enforce")))

    async def open(self) -> list[Event]:
        (hello,) = self.gateway.connect()
        assert isinstance(hello, Send)
        for event in self.client.receive(payload(hello.frame), now_ns=self._clock.now_ns()):
            await self.up(event)
        return await self.down()

    async def up(self, event: Event) -> None:
        assert isinstance(event, ToGateway)
        for relayed in self.gateway.receive(event.frame, now_ns=self._clock.now_ns()):
            if isinstance(relayed, Relay):
                reply = await self._agent.submit(relayed.request)
                self.gateway.answered(relayed.request.method_name, reply)

    async def down(self) -> list[Event]:
        """Everything the canister has, through both sessions; what the client answers goes up again."""
        events: list[Event] = []
        for message in await self._poll():
            self.gateway.delivered()
            for event in self.client.receive(payload(message.frame), now_ns=self._clock.now_ns()):
                events.append(event)
                if isinstance(event, ToGateway):
                    await self.up(event)
        return events

    async def _poll(self) -> list[PolledMessage]:
        arg = GET_MESSAGES.encode({"nonce": self._next_nonce})
        reply = await self._agent.query(self._canister_id, "ws_get_messages", arg)
        now_ns = self._clock.now_ns()
        polled = self._verifier.open_poll_reply(reply, self._canister_id, generation=2, now_ns=now_ns).messages
        self._next_nonce += len(polled)
        return polled

    async def say(self, text: str) -> list[Event]:
        content = MESSAGE.encode({"text": text, "timestamp": 0})
        await self.up(self.client.send(content, now_ns=self._clock.now_ns()))
        return await self.down()


def texts(events: list[Event]) -> list[object]:
    return [MESSAGE.decode(e.content)[0]["text"] for e in events if isinstance(e, Received)]  # type: ignore[index]


async def test_the_three_machines_understand_each_other() -> None:
    clock = ManualClock(1_800_000_000 * SECOND_NS)
    async with Localnet(clock=clock) as net, HttpTransport([net.url], timeout_s=15, max_reply=1 << 22) as transport:
        canister_id = net.create_canister(PingPong(WsInitParams(send_ack_interval_ms=61_000)))
        identity = KeyIdentity(SigningKey.generate("ed25519"))
        agent = Agent(transport, identity, Verifier(net.root_key), clock=clock.now_ns)
        talk = Conversation(net, clock, canister_id, agent)

        events = await talk.open()
        assert events[0] == Opened()
        assert texts(events) == ["ping"]
        for number in range(20):
            assert texts(await talk.say(f"round {number}")) == [f"round {number} ping"]
        assert talk.client.unacknowledged == 20

        clock.advance(61 * SECOND_NS)
        await net.replica.settle()
        (keep_alive,) = await talk.down()
        assert isinstance(keep_alive, ToGateway)
        assert talk.client.unacknowledged == 1  # the sign of life itself

        assert texts(await talk.say("still here")) == ["still here ping"]
        with pytest.raises(ClosedByApplication):
            await talk.say("close")


@pytest.mark.parametrize("subnet", [False, True])
async def test_round_trips_over_sockets(subnet: bool) -> None:
    async with running(subnet=subnet) as network:
        async with network.connect() as connection:
            assert (await connection.receive()).value["text"] == "ping"  # type: ignore[index]
            for number in range(20):
                await connection.send({"text": str(number), "timestamp": number})
                assert (await connection.receive()).value["text"] == f"{number} ping"  # type: ignore[index]
        await network.gateway.stop()
        assert network.gateway.stats.farewells == 1


async def test_senders_at_the_same_time_keep_one_order() -> None:
    async with running() as network, network.connect() as connection:
        await connection.receive()
        await asyncio.gather(*(connection.send({"text": str(number), "timestamp": 0}) for number in range(50)))
        answers = [(await connection.receive()).value["text"] for _ in range(50)]  # type: ignore[index]
        assert answers == [f"{number} ping" for number in range(50)]


async def test_the_application_closes() -> None:
    async with running() as network, network.connect() as connection:
        await connection.send({"text": "close", "timestamp": 0})
        assert [message.value["text"] async for message in connection] == ["ping"]  # type: ignore[index]
        with pytest.raises(ClosedByApplication):
            await connection.receive()


async def test_a_session_key_of_another_identity() -> None:
    user, session = KeyIdentity(SigningKey.generate("prime256v1")), KeyIdentity(SigningKey.generate("ed25519"))
    async with running() as network:
        link = delegate(
            user,
            session.public_key,
            expiration_ns=network.gateway.clock() + 3600 * SECOND_NS,
            targets=[network.canister_id],
        )
        async with network.connect(identity=DelegatedIdentity(session, user.public_key, [link])) as connection:
            assert (await connection.receive()).value["text"] == "ping"  # type: ignore[index]


class Forger(KeyIdentity):
    """Signs something else than it is asked to."""

    def sign(self, message: bytes) -> bytes:
        return super().sign(message + b"?")


async def test_a_wrong_signature_is_refused_by_the_gateway_with_its_code() -> None:
    async with running() as network:
        with pytest.raises(ConnectionClosed, match="signature") as caught:
            async with network.connect(identity=Forger(SigningKey.generate("ed25519"))):
                pass
        assert caught.value.code == SignatureInvalid.close_code
        assert not caught.value.come_back


async def test_messages_of_another_network_are_refused() -> None:
    async with running() as network, Localnet() as other:
        with pytest.raises(MessageUntrusted):
            async with network.connect(network_url=other.url):
                pass


async def test_a_canister_that_is_not_served_is_named() -> None:
    async with running(canisters=[]) as network:
        with pytest.raises(ConnectionClosed, match=str(network.canister_id)):
            async with network.connect():
                pass
