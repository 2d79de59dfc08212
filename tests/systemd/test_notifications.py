"""What the program tells its service manager, whose place the test takes."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong


class Manager:
    """The receiving end of the notification socket."""

    def __init__(self, address: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.setblocking(False)
        self.file = address.with_name("gateway.yaml")
        self.process: asyncio.subprocess.Process

    async def hears(self, *wanted: str) -> list[str]:
        """Everything up to the message that has all of this in it."""
        heard: list[str] = []
        async with asyncio.timeout(60):
            while not (heard and all(word in heard[-1] for word in wanted)):
                heard.append((await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode())
        return heard


@asynccontextmanager
async def managed(folder: Path, **environment: str) -> AsyncIterator[Manager]:
    """``icws run`` under a service manager."""
    manager = Manager(folder / "notify")
    async with Localnet() as net:
        manager.file.write_text(
            f"gateway: {{listen: '127.0.0.1:0'}}\nnetwork: {{url: '{net.url}', root_key: fetch}}\n"
            f"canisters: [{{id: {net.create_canister(PingPong())}}}]\n"
            "control: {listen: null, history: null}\nwatch: false\n"
        )
        manager.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "appliance.cli", "run", "--config", str(manager.file)),
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), **environment},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield manager
        finally:
            if manager.process.returncode is None:
                manager.process.kill()
            await manager.process.wait()
            manager.socket.close()


async def test_a_life_from_ready_to_stopping(tmp_path):
    async with managed(tmp_path) as manager:
        [ready] = await manager.hears("READY=1")
        assert "STATUS=Serving 0 sessions at ws://127.0.0.1:" in ready
        assert ready.endswith("configuration 1")

        manager.file.write_text(manager.file.read_text() + "polling: {max_interval: 2s}\n")
        manager.process.send_signal(signal.SIGHUP)
        *_, reloading = await manager.hears("RELOADING=1")
        assert "\nMONOTONIC_USEC=" in reloading
        *told, _ = await manager.hears("READY=1")
        assert any(text.endswith("configuration 2") for text in told)

        manager.file.write_text("gateway: {listn: x}\n")
        manager.process.send_signal(signal.SIGHUP)
        await manager.hears("RELOADING=1")
        *told, _ = await manager.hears("READY=1")
        refused, *_ = [text for text in told if "the last reload was refused: " in text]
        assert "configuration 2; " in refused
        assert "gateway.listn: unknown key" in refused

        manager.process.send_signal(signal.SIGTERM)
        *_, stopping = await manager.hears("STOPPING=1")
        assert "STATUS=draining" in stopping
        assert await manager.process.wait() == 0


async def test_the_watchdog_is_fed(tmp_path):
    async with managed(tmp_path, WATCHDOG_USEC="600000") as manager:
        for _ in range(3):
            await manager.hears("WATCHDOG=1")
