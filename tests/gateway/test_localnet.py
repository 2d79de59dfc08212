"""The whole data plane with nothing faked: real sockets, agent, local IC, and the ping-pong canister.

The network is like the mainnet, only faster, unless a test says otherwise: blocks, replicas that lag, calls that swap.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance.config.schema import Config
from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.websocket.pingpong import PingPong
from tests.gateway.bench import until
from tests.gateway.clients import Client

APP = CandidTypes("(record {text: text; timestamp: nat64})")
MESSAGE = CandidTypes(
    "(record {msg: record {client_key: record {client_principal: principal; client_nonce: nat64}; sequence_num: nat64;"
    " timestamp: nat64; is_service_message: bool; content: blob}}, opt record {text: text; timestamp: nat64})"
)


class Player:
    """A client that checks every message as the SDKs do: certificate, key, sequence number."""

    def __init__(self, stage: "Stage", socket: ClientConnection) -> None:
        self.client = Client()
        self.socket = socket
        self.sent = 0
        self.received = 0
        self._stage = stage

    async def open(self) -> None:
        await self.socket.recv()
        await self.socket.send(self.client.open(gateway=self._stage.gateway.principal, canister=self._stage.canister))
        assert (await self.next()).is_service_message

    async def say(self, text: str) -> None:
        self.sent += 1
        now = time.time_ns()
        message = {
            "client_key": {"client_principal": self.client.principal, "client_nonce": self.client.nonce},
            "sequence_num": self.sent,
            "timestamp": now,
            "is_service_message": False,
            "content": APP.encode({"text": text, "timestamp": now}),
        }
        arg = MESSAGE.encode({"msg": message}, None)
        await self.socket.send(self.client.call("ws_message", arg, canister=self._stage.canister))

    async def hear(self) -> str:
        return APP.decode((await self.next()).content)[0]["text"]

    async def next(self):
        verifier, canister = self._stage.verifier, self._stage.canister
        message = verifier.open_message(await self.socket.recv(), canister, generation=2, now_ns=time.time_ns())
        self.received += 1
        assert message.client_key == self.client.client_key
        assert message.sequence_num == self.received
        return message


class Stage:
    def __init__(
        self, net: Localnet, canister: Principal, gateway: Gateway, listener: Listener, proxy: "Proxy"
    ) -> None:
        self.net = net
        self.canister = canister
        self.gateway = gateway
        self.listener = listener
        self.proxy = proxy
        self.verifier = Verifier(net.root_key)

    @asynccontextmanager
    async def player(self) -> AsyncIterator[Player]:
        """A client that has opened and was greeted by the application."""
        async with connect(self.listener.url, compression=None) as socket:
            player = Player(self, socket)
            await player.open()
            assert await player.hear() == "ping"
            yield player

    async def has_clients(self, expected: int) -> None:
        """Wait until the canister counts so many: the replica that answers may be behind."""
        while await self._clients() != expected:  # noqa: ASYNC110 - nobody says when a replica knows it
            await asyncio.sleep(0.01)

    async def _clients(self) -> int:
        async with HttpTransport([self.net.url], timeout_s=5, max_reply=1 << 20) as transport:
            agent = Agent(transport, KeyIdentity(SigningKey.generate("ed25519")), self.verifier)
            reply = await agent.query(self.canister, "clients_connected", CandidTypes("()").encode())
            return CandidTypes("(nat64)").decode(reply)[0]


class Proxy:
    """Between gateway and local IC; ``spoil`` may change the answers to queries."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply
        self.spoilt = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        async with ClientSession() as self._session:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
            finally:
                await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": request.content_type}
        try:
            async with self._session.request(
                request.method, self._url + request.path, data=await request.read(), headers=headers
            ) as answer:
                body = await answer.read()
        except OSError as error:
            return web.Response(status=502, text=str(error))
        if request.path.endswith("/query"):
            spoilt = self.spoil(body)
            self.spoilt += spoilt != body
            body = spoilt
        return web.Response(status=answer.status, body=body, content_type=answer.content_type)


MAINNET = Conditions.like_mainnet(b"the local IC of the gateway's tests").faster(20)
AT_ONCE = Conditions()


@asynccontextmanager
async def stage(conditions: Conditions = MAINNET) -> AsyncIterator[Stage]:
    async with Localnet(seed=b"the local IC of the gateway's tests", conditions=conditions) as net:
        canister = net.create_canister(PingPong())
        proxy = Proxy(net.url)
        config = Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0", "close_timeout": "1s"},
                "drain": {"deadline": "10s"},
                "canisters": [{"id": str(canister)}],
                "polling": {"min_interval": "5ms", "max_interval": "50ms"},
            }
        )
        async with proxy.serve() as url, HttpTransport([url], timeout_s=5, max_reply=1 << 22) as transport:
            verifier = Verifier(net.root_key)
            identity = KeyIdentity(SigningKey.generate("ed25519"))
            agent = Agent(transport, identity, verifier)
            gateway = Gateway(config, ic=agent, verifier=verifier, principal=identity.principal)
            async with gateway, Listener(gateway) as listener:
                yield Stage(net, canister, gateway, listener, proxy)
        assert len(gateway.hub) == len(gateway.tasks) == len(listener) == 0


@pytest.mark.parametrize("conditions", [MAINNET, AT_ONCE, replace(AT_ONCE, subnet=False)])
async def test_twenty_round_trips_in_order_and_a_farewell(conditions):
    async with stage(conditions) as it:
        async with it.player() as player:
            for number in range(20):
                await player.say(f"{number}-pong")
                assert await player.hear() == f"{number}-pong ping"
            await it.has_clients(1)
        await until(lambda: it.gateway.counters.farewells == 1)
        await it.has_clients(0)
        assert not it.gateway.counters.failed_polls
        assert it.gateway.counters.gaps == 0


async def test_messages_sent_at_once_are_answered_in_order():
    async with stage() as it, it.player() as one, it.player() as two:
        for number in range(10):
            await one.say(f"one {number}")
            await two.say(f"two {number}")
        assert [await one.hear() for _ in range(10)] == [f"one {number} ping" for number in range(10)]
        assert [await two.hear() for _ in range(10)] == [f"two {number} ping" for number in range(10)]


async def test_the_close_message_of_the_application_arrives():
    async with stage() as it, it.player() as player:
        await player.say("close")
        assert (await player.next()).is_service_message


async def test_a_message_out_of_order_is_refused_after_the_canisters_close_message():
    async with stage() as it, it.player() as player:
        player.sent = 6
        await player.say("out of order")
        assert (await player.next()).is_service_message
        with pytest.raises(ConnectionClosed) as caught:
            await player.socket.recv()
        assert caught.value.rcvd.code == 4102
        assert caught.value.rcvd.reason == "ws_message: Expected incoming sequence number 1 but got 7"


PIECES = {"certificate": b"signature\x58\x30", "tree": b"\x49websocket", "content": b"sequence_num"}


@pytest.mark.parametrize("part", PIECES)
async def test_one_changed_byte_is_not_delivered_polling_goes_on_and_no_socket_is_lost(part):
    async with stage() as it, it.player() as player:
        counters = it.gateway.counters

        def spoil(reply: bytes) -> bytes:
            index = reply.find(PIECES[part])
            if index < 0:
                return reply
            index += len(PIECES[part]) + (8 if part == "certificate" else -1)
            return reply[:index] + bytes([reply[index] ^ 1]) + reply[index + 1 :]

        delivered = counters.delivered
        it.proxy.spoil = spoil
        await player.say("pong")
        await until(lambda: it.proxy.spoilt >= 3)
        assert counters.delivered == delivered
        assert counters.failed_polls.total() >= 2
        assert it.gateway.pollers[it.canister].state == "degraded"
        it.proxy.spoil = lambda reply: reply
        assert await player.hear() == "pong ping"
        assert it.gateway.pollers[it.canister].state == "ok"
        assert counters.delivered == delivered + 1
        assert not counters.closed


async def test_an_outage_of_the_ic_loses_no_message_and_no_socket():
    async with stage() as it, it.player() as one, it.player() as two:
        await it.net.stop_http()
        await until(lambda: it.gateway.pollers[it.canister].state == "degraded")
        for number in range(3):
            await one.say(f"one {number}")
            await two.say(f"two {number}")
        await until(lambda: it.gateway.counters.failed_polls.total() >= 3)
        await it.net.start_http()
        assert [await one.hear() for _ in range(3)] == [f"one {number} ping" for number in range(3)]
        assert [await two.hear() for _ in range(3)] == [f"two {number} ping" for number in range(3)]
        assert it.gateway.pollers[it.canister].state == "ok"
        assert not it.gateway.counters.closed
        assert not it.gateway.counters.failed_relays


async def test_a_reinstalled_canister_is_noticed_when_somebody_comes():
    async with stage() as it, it.player() as old:
        it.net.reinstall_canister(it.canister, PingPong())
        async with it.player() as new:
            await new.say("pong")
            assert await new.hear() == "pong ping"
            with pytest.raises(ConnectionClosed) as caught:
                await old.socket.recv()
            assert caught.value.rcvd.code == 4103
        assert it.gateway.counters.resets == 1


async def test_listeners_that_the_canister_forgot_are_closed_when_one_client_sends_and_nobody_comes():
    async with stage() as it, it.player() as one, it.player() as two, it.player() as three:
        it.net.reinstall_canister(it.canister, PingPong())
        await one.say("pong")
        codes = []
        for player in (one, two, three):
            with pytest.raises(ConnectionClosed) as caught:
                await player.socket.recv()
            codes.append(caught.value.rcvd.code)
        assert codes == [4102, 4103, 4103]
        assert it.gateway.counters.resets == 0, "no queue was seen that begins again"


async def test_a_second_session_of_a_principal_closes_the_first_which_the_canister_forgot():
    async with stage() as it, it.player() as first, connect(it.listener.url, compression=None) as socket:
        second = Player(it, socket)
        second.client.key = first.client.key
        await second.open()
        with pytest.raises(ConnectionClosed) as caught:
            await first.socket.recv()
        assert caught.value.rcvd.code == 4121
        assert await second.hear() == "ping"
        await second.say("pong")
        assert await second.hear() == "pong ping"


async def test_stopping_tells_the_canister_of_everybody():
    async with stage() as it:
        async with it.player() as one, it.player() as two:
            stop = asyncio.ensure_future(it.listener.stop())
            for player in (one, two):
                with pytest.raises(ConnectionClosed) as caught:
                    await player.socket.recv()
                assert caught.value.rcvd.code == 1012
            await stop
            await it.gateway.stop()
        await it.has_clients(0)
        assert it.gateway.counters.farewells == 2
