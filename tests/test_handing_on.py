"""A process ends for the next one at the same socket, as systemd has it start: nobody is refused and nobody is left
behind in a canister.
"""

import asyncio
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from appliance.client import Connection, ConnectionClosed, connect
from appliance.ic.key_file import create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.cli.processes import TOP, WORDS, icws, seen
from tests.gateway.journal.test_crash import Counting

COMING = 200
PATIENCE_S = 240
SESSIONS = 10
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-m", "appliance.cli", "run", "--config", sys.argv[2]])
"""


@asynccontextmanager
async def serving(listening: socket.socket, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``icws run`` with a socket that outlives it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_SYSTEMD, str(listening.fileno()), str(file)),
        cwd=TOP,
        pass_fds=[listening.fileno()],
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await seen(process.stderr, WORDS)
        reading = asyncio.ensure_future(process.stderr.read())  # with its pipe full, it would wait for a reader
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


async def come(url: str, begun: asyncio.Semaphore) -> int | None:
    """The status of one upgrade; None for a connection that is refused or lost before its answer."""
    begun.release()
    try:
        async with connect_socket(url, open_timeout=PATIENCE_S, ping_interval=None) as client:
            return client.response.status_code if client.response else None
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except OSError:
        return None


async def talk(connection: Connection, text: str) -> None:
    await connection.send({"text": text, "timestamp": 0})
    while (await connection.receive()).value["text"] != f"{text} ping":
        pass


async def ended(connection: Connection) -> int | None:
    """The close code."""
    try:
        while True:
            await connection.receive()
    except ConnectionClosed as error:
        return error.code


def configuration(url: str, net: Localnet, canister_id: Principal, *, rate: int) -> str:
    return (
        f"gateway: {{listen: '{url.removeprefix('ws://')}', identity: identity.pem}}\n"
        f"network: {{url: '{net.url}', root_key: {net.root_key.hex()}}}\n"
        "control: {listen: null, history: null}\nlimits: {held_per_address: {mode: 'off'}}\n"
        "rate_limits: {connections_per_ip: {mode: 'off'}, frames_per_ip: {mode: 'off'}}\n"
        f"drain: {{rate: {rate}/s}}\ncanisters: [{{id: {canister_id}}}]\n"
    )


async def leaving(canister: Counting, sessions: int) -> None:
    """Until so many have left, as the canister was told."""
    async with asyncio.timeout(PATIENCE_S):
        while len(canister.left) < sessions:  # noqa: ASYNC110 - another process makes the calls
            await asyncio.sleep(0.1)


@dataclass
class Stage:
    """A socket of the service manager, and clients of a canister behind the gateway that has it."""

    listening: socket.socket
    url: str
    net: Localnet
    canister: Counting
    canister_id: Principal
    file: Path
    clients: AsyncExitStack

    async def open(self, **options: object) -> list[Connection]:
        """Sessions, which last as long as the stage."""
        given = {"root_key": self.net.root_key, "message_type": APP_MESSAGE, **options}
        opening = (connect(self.url, self.canister_id, **given) for _ in range(SESSIONS))
        return [await self.clients.enter_async_context(one) for one in opening]


@asynccontextmanager
async def staged(folder: Path, *, rate: int) -> AsyncIterator[Stage]:
    create_identity(folder / "identity.pem")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        async with Localnet() as net, AsyncExitStack() as clients:
            canister = Counting()
            canister_id = net.create_canister(canister)
            file = folder / "gateway.yaml"
            file.write_text(configuration(url, net, canister_id, rate=rate))
            yield Stage(listening, url, net, canister, canister_id, file, clients)


@pytest.mark.timeout(PATIENCE_S + 60)
async def test_a_restart_refuses_nobody_and_leaves_nobody_behind(tmp_path: Path) -> None:
    async with staged(tmp_path, rate=20) as stage:
        async with serving(stage.listening, stage.file) as first:
            opened = await stage.open(reconnect=True)
            for session in opened:
                await talk(session, "before")
            begun = asyncio.Semaphore(0)
            half = [asyncio.ensure_future(come(stage.url, begun)) for _ in range(COMING // 2)]
            for _ in half:
                await begun.acquire()
            first.send_signal(signal.SIGUSR2)
            more = [asyncio.ensure_future(come(stage.url, begun)) for _ in range(COMING // 2)]
            assert await first.wait() == 75
        async with serving(stage.listening, stage.file) as second:
            statuses = Counter(await asyncio.gather(*half, *more))
            assert statuses == {101: COMING}
            for session in opened:
                await talk(session, "after")
            await leaving(stage.canister, SESSIONS)
            assert set(stage.canister.came.values()) == {2}
            assert set(stage.canister.left.values()) == {1}, "of the first session of each, not of the second"
            for session in opened:
                await talk(session, "still here")
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0


@pytest.mark.timeout(PATIENCE_S + 60)
async def test_a_drain_that_is_killed_is_finished_by_the_next_process(tmp_path: Path) -> None:
    async with staged(tmp_path, rate=1) as stage:
        async with serving(stage.listening, stage.file) as first:
            opened = await stage.open()
            first.send_signal(signal.SIGUSR2)
            waiting = [asyncio.ensure_future(ended(each)) for each in opened]
            closed, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {each.result() for each in closed} == {1012}
            first.kill()
            await first.wait()
            await asyncio.gather(*waiting)
        async with serving(stage.listening, stage.file):
            await leaving(stage.canister, SESSIONS)
            assert set(stage.canister.left.values()) == {1}


@pytest.mark.timeout(PATIENCE_S + 60)
async def test_without_a_socket_that_stays_newcomers_are_told_to_come_back(tmp_path: Path) -> None:
    """They would wait for a process that never has them. Load balancers get the grace."""
    async with staged(tmp_path, rate=20) as stage:
        text = stage.file.read_text().replace(stage.url.removeprefix("ws://"), "127.0.0.1:0")
        stage.file.write_text(text.replace("drain: {", "drain: {grace: 10m, "))
        async with icws("run", "--config", str(stage.file)) as process:
            found = re.search(r"url=(ws://\S+)", await seen(process.stderr, WORDS))
            assert found is not None
            process.send_signal(signal.SIGUSR2)
            await seen(process.stderr, "stopping")
            assert await come(found[1], asyncio.Semaphore(0)) == 503
            process.terminate()
            await process.communicate()
            assert process.returncode == 130
