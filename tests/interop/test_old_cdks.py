"""Canisters on old CDKs behind the gateway of ``icws localnet``, which they are installed with."""

import pytest

from appliance.client import connect
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.cli.develop.test_localnet import said, stopped
from tests.cli.processes import icws, seen
from tests.interop import cdks


@pytest.mark.parametrize("version", cdks.VERSIONS)
async def test_a_client_opens_at_the_own_gateway_of_a_local_network(version: str) -> None:
    cdks.needed_module(version)
    canister = ["--canister", f"old={cdks.file(version)}", "--arg", 'old=("{gateway}")', "--generation", "old=v1"]
    async with icws("localnet", *canister, "--port", "0", "--gateway-port", "0") as process:
        lines = await seen(process.stdout, "page:")
        url, canister_id = f"{said(lines, 'gateway')}/v1", said(lines, "canister").split()[0]
        async with connect(url, canister_id, network_url=said(lines, "url"), message_type=APP_MESSAGE) as client:
            greeting = await client.receive()
            await client.send({"text": "hello", "timestamp": 1})
            answer = await client.receive()
        await stopped(process)
    assert [message.value["text"] for message in (greeting, answer)] == ["ping", "hello ping"]  # type: ignore[index]
