import asyncio
import shutil
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from appliance.crypto import CandidTypes, SigningKey, Verifier, decode_cbor
from appliance.errors import IcRefused
from appliance.ic.agent import Agent
from appliance.ic.envelope import sign_request
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.management.rules import CallRejected
from appliance.localnet.net import Localnet
from appliance.localnet.page.local_agent import LocalAgent
from appliance.localnet.state.outcome import Reply
from appliance.localnet.storage.state_folder import StateUnusable
from tests.localnet.greeter import Greeter
from tests.localnet.managed import COUNTER_MODULE
from tests.localnet.wasm.modules import module

NOTHING = CandidTypes("()").encode()
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


def test_a_subnet_key_under_the_root_key_is_the_default() -> None:
    assert Localnet().replica.authority.is_delegated
    assert not Localnet(subnet=False).replica.authority.is_delegated


@pytest.mark.parametrize("subnet", [False, True])
def test_a_saved_network_keeps_its_kind_of_key(tmp_path: Path, *, subnet: bool) -> None:
    for wanted in (subnet, None):
        net = Localnet(state_dir=tmp_path, subnet=wanted)
        assert net.replica.authority.is_delegated == subnet
        net.save()
        net._close_folder()


# --- canisters of Wasm, time and state ---

EVERY_HOUR = module(
    """
(func $again (drop (call $global_timer_set (i64.add (call $time) (i64.const 3600000000000)))))
(func (export "canister_init") (call $again))
(func (export "canister_global_timer") (call $again)
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
(func (export "canister_query beats") (call $msg_reply_data_append (i32.const 0) (i32.const 4)) (call $msg_reply))
(func (export "canister_update write") (call $debug_print (i32.const 0) (i32.const 4)) (call $msg_reply))
"""
)


def beats(net: Localnet, canister: Principal) -> int:
    outcome = LocalAgent(net.replica).query(net.developer, canister, "beats", b"")
    assert isinstance(outcome, Reply)
    return int.from_bytes(outcome.arg, "little")


async def test_time_moves_on_and_what_is_due_is_executed() -> None:
    async with Localnet() as net:
        canister = net.deploy("clock", EVERY_HOUR)
        for expected in range(1, 4):
            await net.fast_forward(3601)
            assert beats(net, canister) == expected


async def test_clients_whose_clock_stays_behind_are_served() -> None:
    async with Localnet() as net:
        canister = net.create_canister(Greeter())
        await net.fast_forward(7200)
        now_ns = time.time_ns()
        async with HttpTransport([net.url], timeout_s=15, max_reply=65536) as transport:
            verifier = Verifier(net.root_key, max_age_ns=86_400 * 10**9, max_ahead_ns=86_400 * 10**9)
            agent = Agent(transport, KEY, verifier, clock=lambda: now_ns)
            assert await agent.call(canister, "count", NOTHING) == CandidTypes("(nat)").encode(1)
            agent = Agent(transport, KEY, verifier, clock=lambda: now_ns + 7200 * 10**9)
            assert await agent.call(canister, "count", NOTHING) == CandidTypes("(nat)").encode(2)
            agent = Agent(transport, KEY, verifier, clock=lambda: now_ns + 3600 * 10**9)
            with pytest.raises(IcRefused, match="Invalid request expiry"):
                await agent.call(canister, "count", NOTHING)


async def test_a_call_that_comes_again_after_the_clock_was_moved_is_executed_once() -> None:
    async with Localnet() as net, aiohttp.ClientSession() as client:
        canister = net.create_canister(Greeter())
        now_ns = time.time_ns()
        signed = sign_request(KEY, "call", now_ns=now_ns, canister_id=canister, method_name="count", arg=NOTHING)
        for number in (2, 3):
            url, headers = f"{net.url}/api/v3/canister/{canister}/call", {"content-type": "application/cbor"}
            async with client.post(url, data=signed.body, headers=headers) as response:
                assert response.status == 200
            await net.fast_forward(3600)
            assert await count(net, canister) == CandidTypes("(nat)").encode(number)


async def test_a_named_canister_is_upgraded_where_its_code_is_another() -> None:
    async with Localnet() as net:
        canister = net.deploy("one", EVERY_HOUR)
        version = net.replica.canisters[canister].version
        assert net.deploy("one", EVERY_HOUR) == canister
        assert net.replica.canisters[canister].version == version, "nothing is done for the same code"
        assert net.deploy("one", COUNTER_MODULE, controllers=[KEY.principal]) == canister
        assert net.replica.canisters[canister].version > version
        other = net.deploy("other", COUNTER_MODULE, controllers=[KEY.principal])
        assert net.names == {"one": canister, "other": other}
        assert net.replica.canisters[other].controllers == {net.developer.principal, KEY.principal}
        with pytest.raises(CallRejected, match="not valid"):
            net.deploy("third", b"nonsense")
        assert net.names == {"one": canister, "other": other}


async def test_a_state_outlives_the_process(tmp_path: Path) -> None:
    async with Localnet(state_dir=tmp_path, subnet=True) as net:
        first = net.deploy("clock", EVERY_HOUR)
        await net.fast_forward(3601)
        python = net.create_canister(Greeter())
        url, root_key, developer = net.url, net.root_key, net.developer.principal
    async with Localnet(state_dir=tmp_path, subnet=True, port=int(url.rpartition(":")[2])) as net:
        assert (net.url, net.root_key, net.developer.principal) == (url, root_key, developer)
        assert net.names == {"clock": first}
        assert python not in net.replica.canisters, "its code is this program's"
        assert net.replica.clock.ahead_ns == 3601 * 10**9
        assert beats(net, first) == 1
        await net.fast_forward(3601)
        assert beats(net, first) == 2, "the timer was kept"


async def test_changes_are_written_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.localnet.net.SAVE_INTERVAL_S", 0.001)
    async with Localnet(state_dir=tmp_path) as net:
        canister = net.deploy("clock", EVERY_HOUR)
        async with asyncio.timeout(30):
            while not (tmp_path / "current").read_text().startswith("state-"):  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(0.001)
        copy = shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    async with Localnet(state_dir=copy) as net:
        assert net.names == {"clock": canister}


async def test_a_folder_is_free_again_whatever_happened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="address already in use"):
        async with Localnet(state_dir=tmp_path, seed=b"first", port=taken.getsockname()[1]):
            pass
    async with Localnet(state_dir=tmp_path, seed=b"first"):
        with pytest.raises(StateUnusable, match="is using it"):
            Localnet(state_dir=tmp_path)
    with pytest.raises(StateUnusable, match="another seed"):
        Localnet(state_dir=tmp_path, seed=b"second")
    async with Localnet(state_dir=tmp_path) as net:
        assert net.save() is False, "nothing has changed"


async def test_every_line_is_told(tmp_path: Path) -> None:
    async with Localnet() as net:
        heard: list[tuple[str, str]] = []
        net.replica.canisters.log_listeners.append(lambda record, line: heard.append((record.name, line.text)))
        canister = net.deploy("clock", EVERY_HOUR)
        await LocalAgent(net.replica).call(net.developer, canister, "write", b"")
        assert heard == [("clock", "\0\0\0\0")]
