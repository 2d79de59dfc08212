import aiohttp
import pytest

from appliance.crypto import CandidTypes, SigningKey, decode_cbor
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.greeter import Greeter
from appliance.localnet.net import Localnet

KEY = KeyIdentity(SigningKey.from_secret("ed25519", b"k" * 32))


async def count(net: Localnet, canister: Principal) -> object:
    request = sign_request(
        KEY,
        "call",
        now_ns=net.replica.clock.now_ns(),
        canister_id=canister,
        method_name="count",
        arg=CandidTypes("()").encode(),
    )
    url = f"{net.url}/api/v4/canister/{canister}/call"
    headers = {"content-type": "application/cbor"}
    async with aiohttp.ClientSession() as client, client.post(url, data=request.body, headers=headers) as response:
        answer = decode_cbor(await response.read())
    assert isinstance(answer, dict)
    assert answer["status"] == "replied"
    return net.replica.state.get((b"request_status", request.request_id, b"reply"))


async def test_the_state_lives_on_while_the_port_is_closed() -> None:
    nat = CandidTypes("(nat)")
    async with Localnet() as net:
        canister = net.create_canister(Greeter())
        assert await count(net, canister) == nat.encode(1)
        url = net.url
        for expected in (2, 3):
            await net.stop_http()
            await net.stop_http()
            with pytest.raises(aiohttp.ClientConnectionError):
                await count(net, canister)
            await net.start_http()
            await net.start_http()
            assert net.url == url
            assert await count(net, canister) == nat.encode(expected)
    with pytest.raises(aiohttp.ClientConnectionError):
        await count(net, canister)


async def test_open_connections_end_with_the_port() -> None:
    async with Localnet() as net, aiohttp.ClientSession() as client:
        async with client.get(f"{net.url}/api/v2/status") as response:
            await response.read()
        await net.stop_http()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{net.url}/api/v2/status")
        await net.start_http()
        async with client.get(f"{net.url}/api/v2/status") as response:
            assert response.status == 200


async def test_a_port_that_is_taken() -> None:
    async with Localnet() as net:
        port = int(net.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            async with Localnet(port=port):
                pass
        async with aiohttp.ClientSession() as client, client.get(f"{net.url}/api/v2/status") as response:
            assert response.status == 200


async def test_a_reinstalled_canister_counts_from_one() -> None:
    async with Localnet() as net:
        canister = net.create_canister(Greeter())
        await count(net, canister)
        net.reinstall_canister(canister, Greeter())
        assert await count(net, canister) == CandidTypes("(nat)").encode(1)


def test_equal_seeds_are_equal_networks() -> None:
    nets = [Localnet(seed=b"one", subnet=True), Localnet(seed=b"one", subnet=True), Localnet(seed=b"two", subnet=True)]
    assert nets[0].root_key == nets[1].root_key != nets[2].root_key
    assert nets[0].subnet_id == nets[1].subnet_id != nets[2].subnet_id
