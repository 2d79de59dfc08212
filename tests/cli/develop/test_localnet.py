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

from appliance.cli.develop.local_service import show_line
from appliance.cli.develop.localnet import localnet
from appliance.client import ConnectionClosed, connect
from appliance.crypto import CandidTypes, Verifier, decode_cbor
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.record import CanisterRecord, LogLine
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.dialect import Generation
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
    assert gateway.split() == ["accepts:", GATEWAY]


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
        (["--generation", "v3"], "'v3' is not one of 'v0', 'v1', 'v2'; write v1, or NAME=v1 for one canister"),
        (["--generation", "=v1"], "'v1' is not one of"),
        (["--generation", "chess=v1"], "--generation chess=…: there is no canister chess, only ping-pong"),
    ],
)
def test_a_gateway_is_named_where_there_is_one(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(localnet, ["--port", "0", *arguments])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


# --- examples ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--example", "chat", "--generation", "v1", "--gateway", GATEWAY], "the example chat speaks v2 only"),
        (["--example", "chess"], "'chess' is not one of 'ping-pong', 'chat', 'prices'"),
    ],
)
def test_what_is_no_example_is_a_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(localnet, ["--port", "0", *arguments])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


def test_an_example_runs_alone(tmp_path: Path) -> None:
    wasm = tmp_path / "talk.wasm"
    wasm.write_bytes(module(TALKER))
    result = CliRunner().invoke(localnet, ["--port", "0", "--example", "chat", "--wasm", str(wasm)])
    assert result.exit_code == 2
    assert "an example runs alone: leave out --example, or --wasm and --canister" in result.output


async def test_an_example_has_a_name_a_gateway_and_a_page() -> None:
    async with icws("localnet", "--example", "prices", "--port", "0", "--gateway-port", "0") as process:
        lines = await seen(process.stdout, "page:")
        await stopped(process)
    assert said(lines, "canister").endswith(" (prices, wire generation v2)")
    assert said(lines, "gateway").startswith("ws://127.0.0.1:")
    assert "chat:" not in lines


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


async def test_the_gateway_is_complete() -> None:
    """Its principal, and a control plane that commands and its page ask."""
    command = ["localnet", "--example", "prices", "--port", "0", "--gateway-port", "0", "--seed", "complete"]
    async with icws(*command) as process, aiohttp.ClientSession() as client:
        lines = await seen(process.stdout, "page:")
        url, token = re.match(r"(\S+)/ with the token (\S+)$", said(lines, "control")).groups()  # type: ignore[union-attr]
        async with client.get(f"{url}/v1/status", headers={"Authorization": f"Bearer {token}"}) as response:
            assert (await response.json())["gateway_principal"] == said(lines, "principal")
        async with client.get(f"{url}/v1/status") as response:
            assert response.status == 401
        config = said(lines, "commands").removeprefix("icws status -c ")
        async with icws("doctor", "prices", "-c", config) as doctor:
            out, errors = await doctor.communicate()
        assert doctor.returncode == 0, (out, errors)
        assert "no faults" in out.decode()
        async with client.get(f"{said(lines, 'page')}api/net") as response:
            net = await response.json()
        assert (net["gateway_principal"], net["control_url"]) == (said(lines, "principal"), url)
        await stopped(process)
    async with icws(*command) as process:
        assert said(await seen(process.stdout, "page:"), "principal") == said(lines, "principal"), "it is of the seed"
        await stopped(process)


@pytest.mark.parametrize("generation", ["v0", "v1", "v2"])
async def test_an_example_of_each_generation_accepts_the_own_gateway(generation: Generation) -> None:
    command = ["localnet", "--example", "ping-pong", "--generation", f"ping-pong={generation}"]
    async with icws(*command, "--port", "0", "--gateway-port", "0") as process:
        lines = await seen(process.stdout, "page:")
        options = {} if generation == "v0" else {"message_type": APP_MESSAGE}
        url, canister = f"{said(lines, 'gateway')}/{generation}", said(lines, "canister").split()[0]
        async with connect(url, canister, network_url=said(lines, "url"), **options) as client:
            assert (await client.receive()).value["text"] == "ping"  # type: ignore[index]
        await stopped(process)


async def test_a_client_after_a_moved_clock(tmp_path: Path) -> None:
    """It is told what to do, and then it works, through a gateway that goes on."""
    async with icws("localnet", "--example", "ping-pong", "--port", "0", "--gateway-port", "0") as process:
        lines = await seen(process.stdout, "page:")
        forward = f"{said(lines, 'page')}api/fast-forward"
        async with aiohttp.ClientSession() as client, client.post(forward, json={"seconds": 3600}) as response:
            assert response.status == 200
        command = [
            "connect",
            said(lines, "gateway"),
            said(lines, "canister").split()[0],
            "--network",
            said(lines, "url"),
        ]
        async with icws(*command, "--count", "1") as refused:
            _, errors = await refused.communicate()
        assert refused.returncode == 1
        advice = re.search(r"--max-certificate-age \S+", errors.decode())
        assert advice is not None, errors
        async with icws(*command, "--count", "1", *advice[0].split()) as accepted:
            out, errors = await accepted.communicate()
        assert (out, accepted.returncode) == (b"ping\n", 0), errors
        await stopped(process)


async def test_a_folder_for_ids_is_made(tmp_path: Path) -> None:
    wasm, folder = tmp_path / "talk.wasm", tmp_path / "made" / "for it"
    wasm.write_bytes(module(TALKER))
    command = ["localnet", "--wasm", str(wasm), "--port", "0", "--no-gateway", "--write-ids", str(folder), "--watch"]
    async with icws(*command) as process:
        await seen(process.stdout, ".env")
        await stopped(process)
    assert (folder / ".env").is_file()


async def test_a_changed_module_upgrades_its_canister(tmp_path: Path) -> None:
    wasm = tmp_path / "talk.wasm"
    wasm.write_bytes(module(TALKER))
    command = ["localnet", "--wasm", str(wasm), "--port", "0", "--no-gateway", "--watch"]
    async with icws(*command) as process:
        await seen(process.stdout, "page:")
        with wasm.open("wb") as file:
            file.write(b"half of it")
            file.flush()
            file.seek(0)
            file.truncate()
            file.write(module(TALKER.replace("fail", "give up")))
        lines = await seen(process.stdout, "upgraded: talk")
        assert "[talk] upgraded" in lines
        assert "not upgraded" not in lines, "a file that is being written is left alone"
        wasm.write_bytes(b"no module")
        assert "wasm or gzip header is missing" in await seen(process.stdout, "not upgraded:")
        wasm.write_bytes(module(TALKER))
        await seen(process.stdout, "upgraded: talk")
        await stopped(process)


def test_two_modules_of_one_name_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    files = [tmp_path / "talk.wasm", tmp_path / "a" / "talk.wasm"]
    for file in files:
        file.write_bytes(module(TALKER))
    result = CliRunner().invoke(localnet, ["--port", "0", *(word for file in files for word in ("--wasm", str(file)))])
    assert result.exit_code == 2
    assert "two canisters would be called talk" in " ".join(result.output.split())


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


async def test_canisters_of_a_kept_state_run_instead_of_an_example(tmp_path: Path) -> None:
    """For clients of each generation that a module may speak, whatever the default example does."""
    wasm, state = tmp_path / "talk.wasm", ["--port", "0", "--gateway-port", "0", "--state", str(tmp_path / "state")]
    wasm.write_bytes(module(TALKER))
    async with icws("localnet", "--wasm", str(wasm), *state) as process:
        canister = said(await seen(process.stdout, "page:"), "canister")
        await stopped(process)
    async with icws("localnet", *state) as process:
        lines = await seen(process.stdout, "page:")
        assert said(lines, "canister") == canister == f"{canister.split()[0]} (talk)"
        with pytest.raises(ConnectionClosed, match="has no update method 'ws_open'"):
            await connect(f"{said(lines, 'gateway')}/v1", canister.split()[0], network_url=said(lines, "url"))
        await stopped(process)
    async with icws("localnet", "--example", "chat", *state) as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith(f"Error: an example runs alone, and {tmp_path / 'state'} has canisters (talk): ")


def test_a_line_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_line(CanisterRecord(CANISTER, name="talk"), LogLine(0, 3_661 * 10**9, "a\x1b[2J\x07é\nb"))
    assert capsys.readouterr().out == "01:01:01 [talk] a\\x1b[2J\\x07é\n         b\n"


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
