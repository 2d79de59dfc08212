"""The process of ``icws run``: what it waits for, and how it ends at each moment."""

import asyncio
import re
import resource
import signal
from pathlib import Path

import pytest

from appliance.client import connect
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.cli.processes import WORDS, icws, seen

STOP = (signal.SIGINT, signal.SIGTERM)


def write(folder: Path, url: str, more: str = "") -> Path:
    file = folder / "gateway.yaml"
    file.write_text(
        f"gateway: {{listen: '127.0.0.1:0'}}\nnetwork: {{url: '{url}', root_key: fetch}}\nwatch: false\n"
        f"unlisted_canisters: allow\n{more}"
    )
    return file


async def test_a_start_waits_for_a_network_that_is_not_up_yet(tmp_path: Path, unused_tcp_port: int) -> None:
    file = write(tmp_path, f"http://127.0.0.1:{unused_tcp_port}")
    async with icws("run", "--config", str(file)) as process:
        waiting = await seen(process.stderr, "the root key cannot be fetched yet")
        assert re.search(r"again_in_s=1.0", waiting)
        assert "others are asked" not in waiting
        assert "it is the only one, and is asked again" in waiting
        async with Localnet(port=unused_tcp_port):
            await seen(process.stderr, WORDS)
            process.terminate()
            _, stderr = await process.communicate()
    assert (process.returncode, b"Traceback" in stderr) == (0, False)


async def test_the_soft_limit_of_open_files_is_raised(tmp_path: Path, unused_tcp_port: int) -> None:
    file = write(tmp_path, f"http://127.0.0.1:{unused_tcp_port}")
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, hard), hard))
    try:
        async with icws("run", "--config", str(file)) as process:
            await seen(process.stderr, "the root key cannot be fetched yet")
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("number", STOP)
async def test_a_signal_ends_a_start_that_still_waits(
    tmp_path: Path, unused_tcp_port: int, number: signal.Signals
) -> None:
    file = write(tmp_path, f"http://127.0.0.1:{unused_tcp_port}")
    async with icws("run", "--config", str(file)) as process:
        await seen(process.stderr, "the root key cannot be fetched yet")
        process.send_signal(signal.SIGHUP)
        await seen(process.stderr, "no reload while the gateway starts or stops")
        process.send_signal(number)
        _, stderr = await process.communicate()
    assert process.returncode == 0
    assert b"stopped before the start was complete" in stderr
    assert b"Traceback" not in stderr


async def test_a_file_that_changes_while_it_starts_is_noticed(tmp_path: Path, unused_tcp_port: int) -> None:
    file = write(tmp_path, f"http://127.0.0.1:{unused_tcp_port}")
    async with icws("run", "--watch", "--config", str(file)) as process:
        await seen(process.stderr, "the root key cannot be fetched yet")
        file.write_text(file.read_text() + "relay: {window: 3}\n")
        async with Localnet(port=unused_tcp_port):
            await seen(process.stderr, "relay.window")


@pytest.mark.parametrize("number", STOP)
async def test_signals_while_it_stops_end_it_at_once_and_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with Localnet() as net:
        file = write(tmp_path, net.url, "drain: {grace: 10m}\n")
        async with icws("run", "--config", str(file)) as process:
            await seen(process.stderr, WORDS)
            await _hold_a_drain(process, number)
            process.send_signal(signal.SIGHUP)
            await seen(process.stderr, "no reload while the gateway starts or stops")
            process.send_signal(number)
            _, stderr = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in stderr


async def test_a_file_that_changes_while_it_stops_is_left_to_the_next_start(tmp_path: Path) -> None:
    async with Localnet() as net:
        file = write(tmp_path, net.url, "drain: {grace: 10m}\n")
        async with icws("run", "--watch", "--config", str(file)) as process:
            await seen(process.stderr, WORDS)
            await _hold_a_drain(process, signal.SIGTERM)
            file.write_text(file.read_text() + "relay: {window: 3}\n")
            await seen(process.stderr, "the gateway is stopping: its configuration stays as it is")
            process.send_signal(signal.SIGTERM)
            _, stderr = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in stderr


async def test_a_second_signal_waits_for_no_close_call(tmp_path: Path) -> None:
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        file = write(tmp_path, net.url, "drain: {grace: 10m}\n")
        async with icws("run", "--config", str(file)) as process:
            url = re.search(r"url=(ws://\S+)", await seen(process.stderr, WORDS))
            assert url is not None
            async with connect(url[1], canister, root_key=net.root_key, message_type=APP_MESSAGE) as client:
                await client.receive()
                await _hold_a_drain(process, signal.SIGTERM)
                await net.stop_http()
                process.send_signal(signal.SIGTERM)
                _, stderr = await process.communicate()
    assert process.returncode == 130
    assert b"stopped before all was done" in stderr
    assert b"Traceback" not in stderr


async def _hold_a_drain(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    process.send_signal(number)
    await seen(process.stderr, "stopping")
