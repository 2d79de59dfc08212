"""Whole sessions over loopback while one of two endpoints lies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance.client import Connection
from appliance.config.schema import Config
from appliance.crypto import CandidTypes, SigningKey, Verifier, decode_cbor, encode_cbor
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong
from tests.gateway.bench import until
from tests.network import Network

MESSAGES = CandidTypes(
    "(variant {Ok: record {messages: vec record {client_key: record {client_principal: principal; client_nonce: nat64};"
    " key: text; content: blob}; cert: blob; tree: blob; is_end_of_queue: bool}; Err: text})"
)
Lie = Callable[[dict[str, object]], dict[str, object]]


class Liar:
    """An endpoint in front of the local IC that changes the replies to polls, and nothing else."""

    def __init__(self, behind: str, lie: Lie) -> None:
        self.lies = 0
        self._behind, self._lie = behind, lie

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        async with TestServer(app) as server, HttpTransport([self._behind], timeout_s=15, max_reply=1 << 22) as here:
            self._transport = here
            yield f"http://127.0.0.1:{server.port}"

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        reply = await self._transport.send(self._transport.endpoints[0], request.path, body or None)
        content = reply.body
        if request.path.endswith("/query"):
            content = encode_cbor(self._changed(decode_cbor(content)))  # type: ignore[arg-type]
        return web.Response(status=reply.status, body=content, content_type="application/cbor")

    def _changed(self, reply: dict[str, object]) -> dict[str, object]:
        self.lies += 1
        return self._lie(reply)


def says_nothing(reply: dict[str, object]) -> dict[str, object]:
    """The queue is empty."""
    empty = {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}
    return {**reply, "reply": {"arg": MESSAGES.encode({"Ok": empty})}}


def swaps_a_bit(reply: dict[str, object]) -> dict[str, object]:
    arg = bytearray(reply["reply"]["arg"])  # type: ignore[index]
    arg[len(arg) // 2] ^= 1
    return {**reply, "reply": {"arg": bytes(arg)}}


def too_large(_: dict[str, object]) -> dict[str, object]:
    return {"status": "rejected", "reject_code": 5, "reject_message": "too large", "error_code": "IC0504"}


@asynccontextmanager
async def behind_a_liar(lie: Lie, **verification: object) -> AsyncIterator[tuple[Network, Liar]]:
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    async with Localnet() as localnet:
        canister_id = localnet.create_canister(PingPong(generation="v2", gateway=identity.principal))
        liar = Liar(localnet.url, lie)
        config = Config.model_validate(
            {
                "gateway": {"listen": "127.0.0.1:0"},
                "polling": {"min_interval": 0.005, "max_interval": 0.02},
                "verification": verification,
                "canisters": [{"id": str(canister_id)}],
            }
        )
        verifier = Verifier(localnet.root_key)
        async with (
            liar.running() as lying,
            HttpTransport([lying, localnet.url], timeout_s=15, max_reply=1 << 22) as transport,
        ):
            agent = Agent(transport, identity, verifier)
            gateway = Gateway(config, ic=agent, verifier=verifier, principal=identity.principal)
            async with gateway, Listener(gateway) as listener:
                yield Network(localnet, gateway, listener, canister_id, "v2"), liar


async def converse(client: Connection, rounds: int) -> None:
    for number in range(rounds):
        message = await client.receive()
        text = str(message.value["text"])  # type: ignore[index, call-overload]
        assert text.endswith("ping"), number
        await client.send({"text": f"{number}", "timestamp": 0})


@pytest.mark.parametrize("queries", ["enforce", "off"])
@pytest.mark.parametrize("lie", [says_nothing, swaps_a_bit, too_large])
async def test_clients_open_and_talk_while_the_first_of_two_endpoints_lies(lie: Lie, queries: str) -> None:
    async with behind_a_liar(lie, queries=queries) as (network, liar):
        async with asyncio.timeout(60), network.connect() as one, network.connect() as two:
            await asyncio.gather(converse(one, 5), converse(two, 5))
        assert liar.lies
        assert network.gateway.counters.lost == 0
        await until(lambda: not network.gateway.pollers)
