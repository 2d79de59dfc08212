"""Unmodified ic-websocket-js through the gateway, with a canister on the localnet."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import SignatureInvalid
from appliance.localnet.canister import Environment
from appliance.localnet.clock import ManualClock
from appliance.localnet.net import Localnet
from appliance.localnet.pingpong import PingPong
from appliance.localnet.websocket_canister import WsInitParams
from tests.interop.node import PATIENCE_S, Driver
from tests.interop.proxies import Deceit, lying_gateway
from tests.network import Network, running

ROUNDS = 20
BROKEN = (4000, "Error receiving message")

SDKS = pytest.mark.parametrize(
    "sdk", ["ic-websocket-js-0.3.2", "ic-websocket-js-0.3.3", "ic-websocket-js-0.4.1", "ic-websocket-js-0.5.0"]
)


def driver(folder: Path, network: Network, **options: Any) -> Driver:
    settings = {
        "url": network.url,
        "networkUrl": network.localnet.url,
        "canisterId": str(network.canister_id),
        "identity": "secp256k1",
    }
    return Driver(folder, "websocket.cjs", {**settings, **options})


async def opened(client: Driver) -> None:
    await client.expect("open")
    assert (await client.expect("message"))["text"] == "ping"


async def play(client: Driver, rounds: int = ROUNDS) -> None:
    for number in range(rounds):
        await client.tell(send=f"round {number}")
        assert (await client.expect("message"))["text"] == f"round {number} ping"


@SDKS
@pytest.mark.parametrize("subnet", [False, True])
async def test_ping_pong_and_the_client_closes(sdk: str, subnet: bool, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running(subnet=subnet) as network:
        async with driver(folder, network) as client:
            await opened(client)
            await play(client)
            await client.tell(close=True)
            assert await client.closed() == (1000, "")
        await network.gateway.stop()
        assert network.gateway.stats.farewells == 1


@SDKS
async def test_many_messages_at_once_keep_their_order(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running() as network, driver(folder, network) as client:
        await opened(client)
        for number in range(ROUNDS):
            await client.tell(send=f"round {number}")
        texts = [(await client.expect("message"))["text"] for _ in range(ROUNDS)]
        assert texts == [f"round {number} ping" for number in range(ROUNDS)]


@SDKS
async def test_the_canister_closes(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running() as network, driver(folder, network) as client:
        await opened(client)
        await client.tell(send="close")
        assert await client.closed() == (4001, "ClosedByApplication")


@SDKS
@pytest.mark.parametrize("identity", ["ed25519", "delegation"])
async def test_other_identities(sdk: str, identity: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running() as network, driver(folder, network, identity=identity) as client:
        await opened(client)
        await play(client, rounds=2)


class Listening(PingPong):
    """Notes each sign of life."""

    def __init__(self) -> None:
        super().__init__(WsInitParams(send_ack_interval_ms=61_000))
        self.heard = asyncio.Event()

    def _receive_service(self, env: Environment, client: Any, content: bytes) -> None:
        super()._receive_service(env, client, content)
        self.heard.set()


@SDKS
async def test_acknowledgements_are_answered(sdk: str, project: Callable[[str], Path]) -> None:
    folder, clock, canister = project(sdk), ManualClock(time.time_ns()), Listening()
    async with running(canister, clock=clock) as network, driver(folder, network) as client:
        await opened(client)
        await play(client, rounds=1)
        clock.advance(61 * 10**9)
        await asyncio.wait_for(canister.heard.wait(), PATIENCE_S)
        await play(client, rounds=1)


# --- these show that the tests above can fail -----------------------------------------------------------------------


def _alter(number: int, frame: bytes) -> list[bytes]:
    return [frame.replace(b"round 0", b"round 9")]


def _drop(number: int, frame: bytes) -> list[bytes]:
    return [] if number == 3 else [frame]


def _repeat(number: int, frame: bytes) -> list[bytes]:
    return [frame, frame] if number == 3 else [frame]


class Reorder:
    """Swaps the third and the fourth message of the canister."""

    def __init__(self) -> None:
        self._held = b""

    def __call__(self, number: int, frame: bytes) -> list[bytes]:
        if number == 3:
            self._held = frame
            return []
        return [frame, self._held] if number == 4 else [frame]


@SDKS
@pytest.mark.parametrize("make", [lambda: _alter, lambda: _drop, lambda: _repeat, Reorder])
async def test_a_gateway_that_lies_is_found_out(
    sdk: str, make: Callable[[], Deceit], project: Callable[[str], Path]
) -> None:
    folder = project(sdk)
    async with (
        running() as network,
        lying_gateway(network.url, make()) as url,
        driver(folder, network, url=url) as client,
    ):
        await opened(client)
        await client.tell(send="round 0")
        await client.tell(send="round 1")
        assert await client.closed() == BROKEN


@SDKS
async def test_a_gateway_in_the_middle_that_changes_nothing_is_fine(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with (
        running() as network,
        lying_gateway(network.url, lambda _, frame: [frame]) as url,
        driver(folder, network, url=url) as client,
    ):
        await opened(client)
        await play(client, rounds=2)


@SDKS
async def test_a_certificate_of_another_network_is_refused(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with Localnet() as other, running() as network, driver(folder, network, networkUrl=other.url) as client:
        assert await client.closed() == BROKEN


class Miscounting(PingPong):
    """Leaves a sequence number out with its third message."""

    def _push(self, env: Environment, client: Any, content: bytes, *, is_service_message: bool) -> None:
        if client.last_sent_num == 2:
            self.journal.set(client, "last_sent_num", 3)
        super()._push(env, client, content, is_service_message=is_service_message)


@SDKS
async def test_a_canister_that_miscounts_is_refused(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running(Miscounting()) as network, driver(folder, network) as client:
        await opened(client)
        await client.tell(send="round 0")
        assert await client.closed() == BROKEN


@SDKS
async def test_a_wrong_signature_is_refused_by_the_gateway(sdk: str, project: Callable[[str], Path]) -> None:
    folder = project(sdk)
    async with running() as network, driver(folder, network, identity="forger") as client:
        code, reason = await client.closed()
        assert code == SignatureInvalid.close_code
        assert "signature" in reason
        assert network.gateway.stats.joined == 0
