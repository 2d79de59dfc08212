import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from appliance.cli.develop.localnet import _show_line, localnet
from appliance.client import connect
from appliance.crypto import CandidTypes, Verifier, decode_cbor
from appliance.ic.agent import Agent
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport
from appliance.localnet.canisters.record import CanisterRecord, LogLine
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests import demo
from tests.cli.processes import icws, seen
from tests.localnet.machine import CANISTER
from tests.localnet.wasm.modules import module

GATEWAY = str(Principal.self_authenticating(b"gateway"))
RUN = "from appliance.cli.develop.localnet import localnet; localnet()"


def test_it_serves_until_interrupted() -> None:
    command = [sys.executable, "-c", RUN, "--port", "0", "--seed", "cli", "--like-mainnet", "--round-trip", "1"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            lines = dict(process.stdout.readline().split(None, 1) for _ in range(1))
            url = lines["url:"].strip()
            with urllib.request.urlopen(f"{url}/api/v2/status") as response:  # noqa: S310
                status = decode_cbor(response.read())
            assert status["root_key"] == Localnet(seed=b"cli").root_key  # type: ignore[index]
            assert status["root_key"].hex() in process.stdout.readline()  # type: ignore[index]
            conditions = [process.stdout.readline() for _ in range(5)]
            assert (conditions[0], conditions[4]) == (
                "network:  a block every 1 s\n",
                "network:  round trips of 1 ms\n",
            )
            assert "bkyz2-fmaaa-aaaaa-qaaaq-cai" in process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(localnet, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on port {port}" in result.output


@pytest.mark.parametrize("generation", ["v0", "v1"])
def test_an_old_generation_serves_one_gateway(generation: str) -> None:
    command = [sys.executable, "-c", RUN, "--port", "0", "--generation", generation, "--gateway", GATEWAY]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            url, root_key, canister, gateway = (process.stdout.readline() for _ in range(4))
            asyncio.run(_serves_one_gateway(url.split()[-1], bytes.fromhex(root_key.split()[-1]), canister.split()[1]))
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert canister.endswith(f"(ping-pong, wire generation {generation})\n")
    assert gateway.split() == ["gateway:", GATEWAY]


async def _serves_one_gateway(url: str, root_key: bytes, canister: str) -> None:
    """Who is not that gateway is told so, as v2 tells nobody."""
    nonce = CandidTypes("(record {nonce: nat64})").encode({"nonce": 0})
    async with HttpTransport([url], timeout_s=15, max_reply=65536) as transport:
        agent = Agent(transport, AnonymousIdentity(), Verifier(root_key))
        reply = await agent.query(Principal.from_text(canister), "ws_get_messages", nonce)
    refused = {"Err": "caller is not the gateway that has been registered during CDK initialization"}
    assert CandidTypes("(variant {Ok: reserved; Err: text})").decode(reply) == (refused,)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--generation", "v0"], "give it with --gateway PRINCIPAL: `icws identity show` prints yours"),
        (["--generation", "v1"], "a canister of generation v1 accepts one gateway only"),
        (["--gateway", GATEWAY], "a canister of generation v2 accepts any gateway, leave --gateway out"),
        (["--generation", "v1", "--gateway", "aaaaa-b"], "Invalid value for '--gateway': malformed principal"),
        (["--generation", "v3"], "'v3' is not one of 'v0', 'v1', 'v2'"),
    ],
)
def test_a_gateway_is_named_where_there_is_one(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(localnet, ["--port", "0", *arguments])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


# --- canisters of Wasm ---

TALKER = """
(func (export "canister_init") (call $debug_print (i32.const 0) (i32.const 5)))
(func (export "canister_post_upgrade") (call $debug_print (i32.const 8) (i32.const 8)))
(func (export "canister_update fail") (call $trap (i32.const 0) (i32.const 5)))
(data (i32.const 0) "hello") (data (i32.const 8) "upgraded")
"""


def said(lines: str, name: str) -> str:
    found = re.search(rf"^{name}: +(.*)$", lines, re.MULTILINE)
    assert found is not None, lines
    return found[1]


async def stopped(process: asyncio.subprocess.Process) -> str:
    """End it, and what it has said since."""
    process.send_signal(signal.SIGINT)
    out, errors = await process.communicate()
    assert process.returncode == 0, errors
    return out.decode()


async def test_a_module_is_all_that_is_needed(tmp_path: Path) -> None:
    wasm = tmp_path / "talk.wasm"
    wasm.write_bytes(module(TALKER))
    command = ["localnet", "--wasm", str(wasm), "--port", "0", "--gateway-port", "0", "--write-ids", str(tmp_path)]
    async with icws(*command) as process, aiohttp.ClientSession() as client:
        lines = await seen(process.stdout, ".env")
        assert re.search(r"^\d\d:\d\d:\d\d \[talk\] hello$", lines, re.MULTILINE)
        canister, page = said(lines, "canister").removesuffix(" (talk)"), said(lines, "page")
        assert json.loads((tmp_path / ".dfx/local/canister_ids.json").read_text()) == {"talk": {"local": canister}}
        async with client.get(page) as response:
            assert "Local network" in await response.text()
        async with client.get(f"{page}api/net") as response:
            net = await response.json()
        assert (net["gateway_url"], net["root_key"]) == (said(lines, "gateway"), said(lines, "root key"))
        async with client.ws_connect(net["gateway_url"]) as socket:
            assert b"gateway_principal" in await socket.receive_bytes()
        body = {"canister": canister, "method": "fail", "arg": "()", "identity": "anonymous"}
        async with client.post(f"{page}api/call", json=body) as response:
            assert (await response.json())["reject"]["error_code"] == "IC0503"
        assert "[talk] [TRAP]: Canister called `ic0.trap` with message: 'hello'" in await stopped(process)


async def test_a_kept_state_is_gone_on_with(tmp_path: Path) -> None:
    wasm, folder = tmp_path / "talk.wasm", tmp_path / "state"
    command = ["localnet", "--canister", f"talk={wasm}", "--port", "0", "--no-gateway", "--state", str(folder)]
    keys, canisters, words = [], [], []
    for source in (TALKER, TALKER, TALKER.replace("fail", "give up")):
        wasm.write_bytes(module(source))
        async with icws(*command) as process:
            lines = await seen(process.stdout, "page:")
            assert "gateway:" not in lines
            keys.append(said(lines, "root key"))
            canisters.append(said(lines, "canister"))
            words.append(re.findall(r"\[talk\] (\w+)", lines))
            await stopped(process)
    assert (len(set(keys)), len(set(canisters))) == (1, 1)
    assert words == [["hello"], [], ["upgraded"]]
    (folder / "current").write_text("nonsense")
    async with icws(*command) as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"Error: the state of the local network in" in errors
    assert b"Traceback" not in errors


def test_a_line_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _show_line(CanisterRecord(CANISTER, name="talk"), LogLine(0, 3_661 * 10**9, "a\x1b[2J\x07é\nb"))
    assert capsys.readouterr().out == "01:01:01 [talk] a\ufffd[2J\ufffdé\n         b\n"


def test_what_cannot_be_installed_is_a_sentence(tmp_path: Path) -> None:
    wasm = tmp_path / "trap.wasm"
    wasm.write_bytes(module(TALKER.replace("canister_init", "x").replace("canister_update fail", "canister_init")))
    result = CliRunner().invoke(localnet, ["--wasm", str(wasm), "--port", "0", "--gateway-port", "0"])
    assert result.exit_code == 1
    assert f"{wasm} cannot be installed: Error from Canister" in result.output
    assert "'hello'" in result.output


def test_a_taken_gateway_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(localnet, ["--port", "0", "--gateway-port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on port {port}" in result.output


async def test_a_client_talks_to_the_real_canister_through_the_gateway() -> None:
    demo.needed_module()
    command = ["localnet", "--wasm", str(demo.MODULE), "--arg", "demo=(null)", "--port", "0", "--gateway-port", "0"]
    async with icws(*command) as process:
        lines = await seen(process.stdout, "page:")
        canister, url = said(lines, "canister").removesuffix(" (demo)"), said(lines, "gateway")
        async with connect(url, canister, network_url=said(lines, "url"), message_type=APP_MESSAGE) as client:
            greeting = await client.receive()
            await client.send({"text": "hello", "timestamp": 1})
            answer = await client.receive()
        await stopped(process)
    assert [message.value["text"] for message in (greeting, answer)] == ["ping", "hello ping"]  # type: ignore[index]


async def test_a_process_that_is_killed_leaves_a_state_to_go_on_with(tmp_path: Path) -> None:
    wasm, folder = tmp_path / "talk.wasm", tmp_path / "state"
    wasm.write_bytes(module(TALKER))
    command = ["localnet", "--wasm", str(wasm), "--port", "0", "--no-gateway", "--state", str(folder)]
    found = []
    for _ in range(2):
        async with icws(*command) as process:
            lines = await seen(process.stdout, "page:")
            found.append((said(lines, "root key"), said(lines, "canister")))
            async with asyncio.timeout(60):
                while not (folder / "current").read_text().startswith("state-"):  # noqa: ASYNC110 - the disk tells nobody
                    await asyncio.sleep(0.01)
            process.kill()
            await process.communicate()
    assert found[0] == found[1]
