"""Demo, local network, client and command line without what only Linux has (``tests.other_system``)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
    for package in ("appliance", "icws")
    for path in (TOP / package).rglob("*.py")
    if path.name != "__main__.py" and "bench" not in path.parts
)
"""All but the load generator, which needs Linux and says so in docs/benchmarks.md."""
CHECK = """
import os, select, socket
assert not any(hasattr(os, name) for name in ("sched_getaffinity", "memfd_create", "eventfd"))
assert not hasattr(select, "epoll") and not hasattr(socket, "SO_PEERCRED")
import selectors
assert selectors.DefaultSelector.__name__ == "PollSelector"
for path in ("/proc/self/stat", "/sys/fs/cgroup"):
    try:
        open(path)
    except FileNotFoundError:
        continue
    raise AssertionError(path)
try:
    import uvloop
except ModuleNotFoundError:
    print("taken away")
"""


def elsewhere(program: str, *, timeout_s: float = 120) -> str:
    """What a program prints there, which has to end well."""
    source = f"import tests.other_system\n{program}"
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", source]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def icws(*arguments: str) -> str:
    return elsewhere(f"from appliance.cli.main import main\nmain({list(arguments)!r})")


def test_the_parts_are_taken_away() -> None:
    assert elsewhere(CHECK) == "taken away\n"


def test_every_module_can_be_imported() -> None:
    elsewhere(f"import importlib\nfor name in {MODULES!r}: importlib.import_module(name)")


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_the_demo_goes_well(generation: str) -> None:
    """A local network, a gateway and a client of ours in one process."""
    assert re.search(r"ping", icws("demo", "--once", "--generation", generation))


def test_commands_that_look_at_the_machine_work(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"gateway: {{identity: {tmp_path}/identity.pem, listen: '127.0.0.1:0'}}\nnetwork: {{root_key: mainnet}}\n"
    )
    assert "is valid" in icws("check", str(file))
    assert "Gateway Agent principal" in icws("identity", "new", str(tmp_path / "identity.pem"))
    assert "README.txt" in icws("support-dump", "-c", str(file), "-o", str(tmp_path / "dump.tar.gz"))


GATEWAY = """
import asyncio, signal, os
from pathlib import Path
from appliance.config.schema import Log
from appliance.control.client import Client, ControlUnreachable
from appliance.config.source import Source, start
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.log import Logging
from appliance.process import run

def config(api):
    try:
        return api.text("/v1/config").replace(" ", "")
    except ControlUnreachable:  # its signal handlers are there before its sockets
        return ""

async def main():
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        folder = Path(FOLDER)
        file = folder / "gateway.yaml"
        text = (
            f"gateway: {{listen: 'unix:{folder}/clients.sock'}}\\n"
            f"network: {{url: '{net.url}', root_key: {net.root_key.hex()}}}\\n"
            f"control: {{listen: 'unix:{folder}/control.sock'}}\\nwatch: true\\n"
            f"canisters: [{{id: {canister}}}]\\n"
        )
        file.write_text(text)
        serving = asyncio.ensure_future(run(start(Source(file)), Logging(Log(level="error"))))
        while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            await asyncio.sleep(0.05)
        file.write_text(text + "relay: {window: 3}\\n")
        api = Client(f"unix:{folder}/control.sock")
        while '"window":3' not in await asyncio.to_thread(config, api):
            await asyncio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        print("served")
asyncio.run(main())
"""


def test_a_gateway_serves_watches_its_file_and_stops(tmp_path: Path) -> None:
    assert elsewhere(GATEWAY.replace("FOLDER", repr(str(tmp_path)))) == "served\n"
