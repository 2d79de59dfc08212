"""Clients that nobody here wrote, and ours, with the canister in Python and the one on the real CDK: what the table in
README.md does not hold (``scenarios.py``), and the same end with both.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.websocket.canister import WsInitParams
from tests import demo
from tests.interop.canisters import BACKENDS, PYTHON, RUST, Backend
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Live
from tests.interop.node import PATIENCE_S
from tests.interop.proxies import lying_gateway
from tests.network import Network, serving

S = 10**9
SOON = WsInitParams(send_ack_interval_ms=61_000)
PAGES = WsInitParams(max_number_of_returned_messages=4)
EVERYBODY = (*LIVE_SDKS, *LIVE_OWN)
CLIENTS = [live for live in EVERYBODY if live.generation == "v2" and not live.name.endswith(("0.3.3", "0.4.1"))]
"""The oldest and the newest SDK, and ours; those between are in the table."""
OLDER = [live for live in EVERYBODY if live.generation == "v1"]
KEEP_ALIVE_TIMEOUT_NS = {"v1": 10 * S, "v2": 60 * S}
CLOSED_BY_CANISTER = "Received close message from canister|the canister closed the session: "
every_client = pytest.mark.parametrize("live", CLIENTS, ids=lambda live: live.name)
every_canister = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest, project: Callable[[str], Path]) -> None:
    """Packages and canister of the test's parameters."""
    live, backend = (request.node.callspec.params.get(name) for name in ("live", "backend"))
    if isinstance(live, Live) and live.project is not None:
        project(live.project)
    if backend is RUST:
        demo.needed_module()


async def reached(look: Callable[[], int], number: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while look() < number:  # noqa: ASYNC110 - counters have no bell
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("live", "backend"),
    [*((live, PYTHON) for live in OLDER), *((live, backend) for live in CLIENTS for backend in BACKENDS)],
    ids=lambda value: value.name,
)
async def test_acknowledgements_are_answered(live: Live, backend: Backend) -> None:
    clock = ManualClock(time.time_ns())
    async with (
        backend.serve(live.generation, SOON, clock=clock) as network,
        live.start(network, network.url) as client,
    ):
        await client.opened()
        assert await client.receive() == "ping"
        await client.send("a")
        assert await client.receive() == "a ping"
        await reached(lambda: network.gateway.counters.relayed, 2)  # the opening and the message
        clock.advance(61 * S)
        await reached(lambda: network.gateway.counters.relayed, 3)
        clock.advance(KEEP_ALIVE_TIMEOUT_NS[live.generation])  # who has not answered goes now
        await network.localnet.replica.settle()
        assert await network.connected() == 1
        await client.send("b")
        assert await client.receive() == "b ping"


@every_client
@every_canister
async def test_a_client_whose_answers_are_lost_is_closed(live: Live, backend: Backend) -> None:
    clock = ManualClock(time.time_ns())
    async with (
        backend.serve(params=SOON, clock=clock) as network,
        lying_gateway(network.url, deafness=lambda number: number > 1) as url,
        live.start(network, url) as client,
    ):
        await client.opened()
        assert await client.receive() == "ping"
        delivered = network.gateway.counters.delivered
        clock.advance(61 * S)
        await reached(lambda: network.gateway.counters.delivered, delivered + 1)
        clock.advance(61 * S)
        code, reason = await client.ended()
        assert code == 4000
        assert re.match(f"{CLOSED_BY_CANISTER}KeepAliveTimeout", reason)
        assert await network.connected() == 0


@every_client
@every_canister
async def test_a_client_whose_message_is_lost_is_closed(live: Live, backend: Backend) -> None:
    async with (
        backend.serve() as network,
        lying_gateway(network.url, deafness=lambda number: number == 2) as url,
        live.start(network, url) as client,
    ):
        await client.opened()
        assert await client.receive() == "ping"
        await client.send("lost")
        await client.send("out of turn")
        code, reason = await client.ended()
        if code == 4000:  # the canister's word came before the gateway's
            assert re.match(f"{CLOSED_BY_CANISTER}WrongSequenceNumber", reason)
        else:
            assert (code, reason) == (4102, "ws_message: Expected incoming sequence number 1 but got 2")
        assert await network.connected() == 0


@every_client
@every_canister
async def test_a_queue_longer_than_a_poll_keeps_its_order(live: Live, backend: Backend) -> None:
    async with backend.serve(params=PAGES) as network, live.start(network, network.url) as client:
        await client.opened()
        assert await client.receive() == "ping"
        texts = [f"message {number}" for number in range(20)]
        for text in texts:
            await client.send(text)
        assert [await client.receive() for _ in texts] == [f"{text} ping" for text in texts]


@every_client
@every_canister
async def test_two_gateways_have_a_queue_each(live: Live, backend: Backend) -> None:
    async with backend.serve() as first, second_gateway(first) as second:
        async with live.start(first, first.url) as one, live.start(second, second.url) as other:
            for client in (one, other):
                await client.opened()
                assert await client.receive() == "ping"
            for number in range(3):
                for client, text in ((one, f"first {number}"), (other, f"second {number}")):
                    await client.send(text)
            for client, name in ((one, "first"), (other, "second")):
                assert [await client.receive() for _ in range(3)] == [f"{name} {number} ping" for number in range(3)]
            assert await first.connected() == 2
        for network in (first, second):
            assert network.gateway.counters.undeliverable == 0


def second_gateway(network: Network) -> AbstractAsyncContextManager[Network]:
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    return serving(network.localnet, network.canister_id, "v2", identity)


@every_client
@every_canister
async def test_a_canister_that_is_upgraded_closes_its_clients_and_takes_them_again(
    live: Live, backend: Backend
) -> None:
    async with backend.serve() as network:
        async with live.start(network, network.url) as client:
            await client.opened()
            assert await client.receive() == "ping"
            backend.anew(network)
            await client.send("are you there?")
            code, reason = await client.ended()
            assert code == 4102
            assert re.match(r"ws_message: Client with principal \S+ doesn't have an open c", reason)
        async with live.start(network, network.url) as again:
            await again.opened()
            assert await again.receive() == "ping"
            await again.send("back")
            assert await again.receive() == "back ping"
