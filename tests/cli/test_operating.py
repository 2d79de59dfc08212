"""A gateway that is operated from other processes: last of all tests of these commands."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.client import ConnectionClosed, connect
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.cli.processes import TOP, icws, seen


class Operator:
    """Somebody at a shell, with a gateway on the same machine."""

    def __init__(self, folder: Path, net: Localnet, canister: Principal, url: str) -> None:
        self.file = folder / "gateway.yaml"
        self.net = net
        self.canister = canister
        self.url = url

    async def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Output and errors of a command in this process, which takes a fraction of the time of one of its own."""
        result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--config", str(self.file)])
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout, result.stderr

    def client(self) -> Any:
        return connect(f"{self.url}/v2", self.canister, network_url=self.net.url, message_type=APP_MESSAGE)


@asynccontextmanager
async def operated(folder: Path) -> AsyncIterator[Operator]:
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        file = folder / "gateway.yaml"
        file.write_text(
            f"gateway: {{listen: '127.0.0.1:0'}}\nnetwork: {{url: '{net.url}', root_key: fetch}}\nwatch: false\n"
            f"polling: {{min_interval: 50ms}}\ncanisters: [{{id: {canister}, name: chat}}]\n"
        )
        async with icws("run", "--config", str(file)) as gateway:
            lines = await seen(gateway.stderr, "Gateway Agent principal: ")
            url = re.search(r"url=(ws://\S+)", lines)
            assert url is not None
            yield Operator(folder, net, canister, url[1])
            gateway.send_signal(signal.SIGTERM)
            _, stderr = await gateway.communicate()
            assert (gateway.returncode, b"Traceback" in stderr) == (0, False)


async def test_a_day_of_an_operator(tmp_path: Path):
    """Look, plan, reload by mistake, reload, pause, explain, drain: a client stays through all but the last."""
    async with operated(tmp_path) as operator, operator.client() as session:
        await session.receive()
        async with icws("status", "--json", "--config", str(operator.file)) as status:
            output, _ = await status.communicate()
        assert json.loads(output)["status"]["sessions"] == 1
        text = operator.file.read_text()

        operator.file.write_text(text.replace("50ms", "50"))
        _, stderr = await operator.run("reload", code=78)
        assert stderr.startswith(f"{operator.file}:4:25: polling.min_interval: 50 is not a duration")

        operator.file.write_text(text.replace("50ms", "20ms"))
        stdout, _ = await operator.run("plan")
        assert "    50ms → 20ms\n" in stdout
        stdout, _ = await operator.run("reload")
        assert stdout.endswith("applied: revision 2 is active\n")

        await operator.run("canisters", "pause", "chat", "--save")
        assert "paused: true" in operator.file.read_text()
        await operator.run("canisters", "resume", "chat", "--save")
        await session.send({"text": "hello", "timestamp": 0})
        assert (await session.receive()).value["text"] == "hello ping"

        stdout, _ = await operator.run("sessions", "--json")
        (peer,) = json.loads(stdout)["items"]
        stdout, _ = await operator.run("explain", peer["id"])
        assert "The session is open" in stdout

        stdout, _ = await operator.run("drain", "start", "--wait", "--reconnect-after", "5s")
        assert "1 closed of 1" in stdout
        with pytest.raises(ConnectionClosed, match=r"1012.*in 5 s"):
            await session.receive()


async def test_events_are_printed_as_they_happen(tmp_path: Path):
    async with (
        operated(tmp_path) as operator,
        icws("events", "--json", "--after", "0", "--config", str(operator.file)) as events,
    ):
        for _ in range(2):
            async with operator.client() as session:
                await session.receive()
                assert json.loads(await seen(events.stdout, "session.opened"))["kind"] == "session.opened"
            await seen(events.stdout, "session.closed")
        events.send_signal(signal.SIGINT)
        _, stderr = await events.communicate()
        assert events.returncode == 130
        assert b"Traceback" not in stderr


async def test_whoever_closes_sessions_at_a_terminal_is_asked(tmp_path: Path):
    async with operated(tmp_path) as operator, operator.client() as session:
        await session.receive()
        assert "Aborted" not in await at_terminal(operator, b"n\n", code=130)
        await session.send({"text": "still here", "timestamp": 0})
        assert (await session.receive()).value["text"] == "still here ping"
        assert "closed 1 session" in await at_terminal(operator, b"y\n", code=0)


async def at_terminal(operator: Operator, answer: bytes, *, code: int) -> str:
    """What ``icws close --canister chat`` shows in a terminal of 80 columns where somebody answers so."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance.cli", "close", "--canister", "chat", "--config", str(operator.file)),
        cwd=TOP,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "80"},
    )
    os.close(theirs)
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 4096)
        os.write(ours, answer)
        assert await process.wait() == code
        shown += await asyncio.to_thread(os.read, ours, 4096)
    finally:
        os.close(ours)
    text = shown.decode()
    assert "\x1b[" in text, "a terminal has colours"
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.splitlines()) <= 80
    return text
