"""The program as people start it: whole processes, last of all tests of the command line."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.exit_codes import EXIT_INTERRUPTED
from appliance.cli.main import main
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong
from tests.cli.processes import TOP, WORDS, icws, running, seen
from tests.needs import program

SLOW_IMPORT = """
import sys, time
print("importing", flush=True)
time.sleep(600)
"""
DEMO = ["demo", "--port", "0", "--ic-port", "0"]


async def test_a_demo_goes_well_from_end_to_end():
    async with icws(*DEMO, "--once") as process:
        stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    text = stdout.decode()
    assert WORDS in text
    assert "hello ping" in text
    assert "\x1b" not in text, "colours are for terminals"


@pytest.mark.parametrize("generation", ["v0", "v1"])
def test_a_demo_of_an_older_generation(generation: str):
    result = CliRunner().invoke(main, [*DEMO, "--once", "--generation", generation])
    assert result.exit_code == 0, result.output
    assert f"wire generation {generation}" in result.stdout
    assert "hello ping" in result.stdout


def test_a_demo_under_conditions_states_them():
    way = ["--block-time", "0.05", "--lag", "2", "--replicas", "4", "--gossip", "1-4", "--round-trip", "2"]
    result = CliRunner().invoke(main, [*DEMO, "--once", *way])
    assert result.exit_code == 0, result.output
    conditions = ["a block every 0.05 s", "4 replicas, each", "up to 2 blocks behind", "gossip of 1 to 4 ms"]
    assert all(condition in result.stdout for condition in [*conditions, "round trips of 2 ms"])
    assert "and good-bye ping" in result.stdout


@pytest.mark.timeout(600)
async def test_a_demo_of_several_nodes_loses_no_message():
    program("redis-server")
    program("haproxy")
    async with icws(*DEMO, "--nodes", "3", "--once") as process:
        stdout, stderr = await process.communicate()
    text = stdout.decode()
    assert process.returncode == 0, text + stderr.decode()
    assert "is closed with 4519" in text
    assert text.count("\nholds  ") == 8, text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_demo_of_several_nodes_with_all_of_its_processes(monkeypatch, number: signal.Signals):
    program("redis-server")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short, for the sockets in it
        monkeypatch.setenv("TMPDIR", folder)
        async with icws(*DEMO, "--nodes", "2") as process:
            await seen(process.stdout, "Nodes")
            process.send_signal(number)
            _, stderr = await process.communicate()
        assert process.returncode == EXIT_INTERRUPTED
        assert stderr == b""
        assert os.listdir(folder) == []
        assert [line for line in _command_lines() if folder in line] == []


async def test_a_demo_of_several_nodes_says_that_its_folder_is_too_long_for_sockets(monkeypatch, tmp_path: Path):
    program("redis-server")
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    async with icws(*DEMO, "--nodes", "2") as process:
        _, stderr = await process.communicate()
    assert b"TMPDIR=/tmp" in stderr
    assert process.returncode == 1


def _command_lines() -> Iterator[str]:
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield each.read_text(errors="replace")


async def test_a_signal_ends_a_demo_that_serves_on():
    async with icws(*DEMO) as process:
        await seen(process.stdout, "  icws connect ws://")
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    assert b"Traceback" not in stderr
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_gateway_in_order(tmp_path: Path, number: signal.Signals):
    async with Localnet() as net, running(tmp_path, net, net.create_canister(PingPong())) as (process, _):
        process.send_signal(number)
        _, stderr = await process.communicate()
    assert process.returncode == 0
    assert b"stopping" in stderr
    assert b"Traceback" not in stderr


async def test_a_conversation_by_standard_input_and_output(tmp_path: Path):
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        async with running(tmp_path, net, canister) as (gateway, url):
            arguments = ("connect", url, str(canister), "--network", net.url, "--wait", "0")
            async with icws(*arguments, stdin=asyncio.subprocess.PIPE) as client:
                assert client.stdin is not None
                client.stdin.write(b"hello\n")
                assert await seen(client.stdout, "hello ping") == "ping\nhello ping\n"
                client.stdin.close()
                await client.communicate()
            assert client.returncode == 0
            gateway.terminate()
            await gateway.communicate()
            assert gateway.returncode == 0


async def test_an_interrupt_ends_a_conversation_without_a_traceback(tmp_path: Path):
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        async with running(tmp_path, net, canister) as (_, url):
            arguments = ("connect", url, str(canister), "--network", net.url)
            async with icws(*arguments, stdin=asyncio.subprocess.PIPE) as client:
                await seen(client.stdout, "ping")
                client.send_signal(signal.SIGINT)
                _, stderr = await client.communicate()
    assert client.returncode == 130
    assert b"Traceback" not in stderr


async def test_a_gateway_that_ends_is_told_with_code_and_reason(tmp_path: Path):
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        async with running(tmp_path, net, canister) as (gateway, url):
            arguments = ("connect", url, str(canister), "--network", net.url)
            async with icws(*arguments, stdin=asyncio.subprocess.PIPE) as client:
                await seen(client.stdout, "ping")
                gateway.terminate()
                _, stderr = await client.communicate()
            assert client.returncode == 1
            assert b"1012" in stderr
            await gateway.communicate()
            assert gateway.returncode == 0


@pytest.mark.parametrize("module", ["appliance.cli", "icws"])
async def test_ctrl_c_while_it_imports_ends_it_without_a_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(SLOW_IMPORT)  # holds the imports at a place, however fast they are
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--help"),
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{TOP}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await seen(process.stdout, "importing")
    process.send_signal(signal.SIGINT)
    _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (-signal.SIGINT, b"")
