"""Unmodified ic-websocket-js through the gateway, beyond what the table in README.md holds (``scenarios.py``)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import MessagesLost, OpenTimeout, SignatureInvalid, WrongGeneration
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong
from tests.interop.clients import SDKS, Sdk
from tests.interop.node import Driver
from tests.interop.proxies import Deceit, lying_gateway
from tests.network import running

BROKEN = (4000, "Error receiving message")


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.version, scope="module")  # which puts the tests of each together
def sdk(request: pytest.FixtureRequest, project: Callable[[str], Path]) -> Sdk:
    """Each SDK."""
    found: Sdk = request.param
    project(found.project)
    return found


async def opened(client: Driver) -> None:
    await client.expect("open")
    assert (await client.expect("message"))["text"] == "ping"


async def play(client: Driver, rounds: int = 2) -> None:
    for number in range(rounds):
        await client.tell(send=f"round {number}")
        assert (await client.expect("message"))["text"] == f"round {number} ping"


async def test_certificates_of_the_root_subnet(sdk: Sdk) -> None:
    async with running(generation=sdk.generation, subnet=False) as network, sdk.driver(network) as client:
        await opened(client)
        await play(client)


async def test_another_kind_of_key(sdk: Sdk) -> None:
    async with running(generation=sdk.generation) as network, sdk.driver(network, identity="ed25519") as client:
        await opened(client)
        await play(client)


async def test_delegated_identities(sdk: Sdk) -> None:
    async with running(generation=sdk.generation) as network, sdk.driver(network, identity="delegation") as client:
        if sdk.generation == "v1":  # the SDK leaves the delegations out before 0.2.2
            code, _ = await client.closed()
            assert code == SignatureInvalid.close_code
        else:
            await opened(client)
            await play(client)


# --- whoever lies is found out --------------------------------------------------------------------------------------


def _alter(_: int, frame: bytes) -> list[bytes]:
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


@pytest.mark.parametrize("make", [lambda: _alter, lambda: _drop, lambda: _repeat, Reorder])
async def test_a_gateway_that_lies_is_found_out(sdk: Sdk, make: Callable[[], Deceit]) -> None:
    async with (
        running(generation=sdk.generation) as network,
        lying_gateway(network.url, make()) as url,
        sdk.driver(network, url=url) as client,
    ):
        await opened(client)
        await client.tell(send="round 0")
        await client.tell(send="round 1")
        assert await client.closed() == BROKEN


async def test_a_gateway_in_the_middle_that_changes_nothing_is_fine(sdk: Sdk) -> None:
    async with (
        running(generation=sdk.generation) as network,
        lying_gateway(network.url, lambda _, frame: [frame]) as url,
        sdk.driver(network, url=url) as client,
    ):
        await opened(client)
        await play(client)


async def test_a_certificate_of_another_network_is_refused(sdk: Sdk) -> None:
    async with (
        Localnet() as other,
        running(generation=sdk.generation) as network,
        sdk.driver(network, networkUrl=other.url) as client,
    ):
        assert await client.closed() == BROKEN


class Miscounting(PingPong):
    """Leaves a sequence number out with its third message."""

    def _push(self, env: Environment, client: Any, content: bytes, *, is_service_message: bool) -> None:
        if client.last_sent_num == 2:
            self.undo_log.set(client, "last_sent_num", 3)
        super()._push(env, client, content, is_service_message=is_service_message)


async def test_a_client_of_a_canister_that_miscounts_is_closed(sdk: Sdk) -> None:
    async with (
        running(
            lambda gateway: Miscounting(generation=sdk.generation, gateway=gateway), generation=sdk.generation
        ) as network,
        sdk.driver(network) as client,
    ):
        await opened(client)
        await client.tell(send="round 0")
        code, reason = await client.closed()
        assert code == MessagesLost.close_code, "the gateway counts, too"
        assert "are lost" in reason


async def test_a_wrong_signature_is_refused_by_the_gateway(sdk: Sdk) -> None:
    async with running(generation=sdk.generation) as network, sdk.driver(network, identity="forger") as client:
        code, reason = await client.closed()
        assert code == SignatureInvalid.close_code
        assert "signature" in reason
        assert network.gateway.counters.joined == 0


# --- whoever takes the wrong path is told ---------------------------------------------------------------------------


async def test_an_sdk_of_v1_at_the_path_of_v2(project: Callable[[str], Path]) -> None:
    """It cannot read the greeting of v2 and closes as soon as it sees one, so here the greeting is lost on its way."""
    project("ic-websocket-js-0.1.2")
    async with (
        running(generation="v1") as network,
        lying_gateway(f"{network.listener.url}/v2", loses_greeting=True) as url,
        SDKS[1].driver(network, url=url) as client,
    ):
        code, reason = await client.closed()
        assert code == WrongGeneration.close_code
        assert "/v1" in reason


async def test_an_sdk_of_v1_and_the_greeting_of_v2(project: Callable[[str], Path]) -> None:
    """Whichever of the two closes first, nobody joins."""
    project("ic-websocket-js-0.1.2")
    async with running(generation="v1") as network, SDKS[1].driver(network, url=f"{network.listener.url}/v2") as client:
        code, _ = await client.closed()
        assert code in (WrongGeneration.close_code, BROKEN[0])
        assert network.gateway.counters.joined == 0


async def test_an_sdk_of_v2_at_the_path_of_v1(project: Callable[[str], Path]) -> None:
    """It waits for a handshake and says nothing, so the time to open must run out."""
    project("ic-websocket-js-0.5.0")
    settings = {"listen": "127.0.0.1:0", "handshake_timeout": "1s"}
    async with (
        running(gateway=settings) as network,
        SDKS[-1].driver(network, url=f"{network.listener.url}/v1") as client,
    ):
        code, reason = await client.closed()
        assert code == OpenTimeout.close_code
        assert "/v2" in reason
