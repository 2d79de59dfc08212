"""What a run needs around it: the stub IC and a gateway in processes of their own, and orders to the stub."""

import asyncio
import json
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from appliance.bench.processes import Usage, started
from appliance.crypto import Verifier
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import canister_id

FIRST_CANISTER = 0x8000000000100000
_PRINCIPAL = "Gateway Agent principal: "
_START_S = 30.0


@dataclass
class BenchFailed(GatewayError):
    """A run could not be made. ``problem`` is a sentence."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True)
class Target:
    """A gateway that speaks v2 at ``url``. ``pid`` is None where its process is not on this machine."""

    url: str
    principal: Principal
    pid: int | None


@dataclass(frozen=True)
class Stage:
    """A stub IC and the gateway in front of it. ``stub_pid`` is None for a stub that somebody else started."""

    stub_url: str
    stub_pid: int | None
    root_key: bytes
    target: Target

    @property
    def verifier(self) -> Verifier:
        """One that trusts the stub."""
        return Verifier(self.root_key)

    @property
    def usage(self) -> Usage | None:
        """What the gateway's process cost so far."""
        return None if self.target.pid is None else Usage.of(self.target.pid)

    @property
    def stub_usage(self) -> Usage | None:
        """What the stub's process cost so far: near a core, the stub is the bottleneck."""
        return None if self.stub_pid is None else Usage.of(self.stub_pid)

    async def order(self, what: str, **order: object) -> dict[str, Any]:
        """Have the stub do something. Raises BenchFailed where it refuses or is not there."""
        return await order_stub(self.stub_url, what, **order)


def canister(number: int) -> Principal:
    """The id of one of the stub's canisters: any number below a million."""
    return canister_id(FIRST_CANISTER + number)


async def order_stub(url: str, what: str, **order: object) -> dict[str, Any]:
    """POST an order to a stub IC; a GET of its root key is the order ``root_key``."""
    status, body = await _post(url, f"/bench/{what}", orjson.dumps(order))
    if status != 200:
        raise BenchFailed(f"the stub IC at {url} refused {what!r}: {body.decode(errors='replace')}")
    answer: dict[str, Any] = orjson.loads(body)
    return answer


async def _post(url: str, path: str, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        raise BenchFailed(f"there is no stub IC at {url}: {error}") from error
    try:
        writer.write(f"POST {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise BenchFailed(f"the stub IC at {url} closed the connection: {error}") from error
    finally:
        writer.close()


@asynccontextmanager
async def own_stage(stub: dict[str, Any], settings: dict[str, Any]) -> AsyncIterator[Stage]:
    """Start the stub with these options and a gateway of this installation with these settings over the defaults."""
    async with AsyncExitStack() as stack:
        stub_process = await stack.enter_async_context(started(["appliance.bench", json.dumps(stub)]))
        facts = await _first_line(stub_process)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="icws-bench-")))
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(_configuration(folder, facts, settings)))  # JSON is YAML
        gateway = await stack.enter_async_context(started(["appliance.cli", "run", "--config", str(file)]))
        url, principal = await _listening(gateway)
        for stream in (gateway.stderr, gateway.stdout, stub_process.stderr):
            draining = asyncio.ensure_future(_drain(stream))
            stack.callback(draining.cancel)
        target = Target(url, principal, gateway.pid)
        yield Stage(facts["url"], stub_process.pid, bytes.fromhex(facts["root_key"]), target)


@asynccontextmanager
async def own_stub(stub: dict[str, Any]) -> AsyncIterator[tuple[str, bytes]]:
    """The stub alone: its URL and root key."""
    async with started(["appliance.bench", json.dumps(stub)]) as process:
        facts = await _first_line(process)
        yield facts["url"], bytes.fromhex(facts["root_key"])


def _configuration(folder: Path, stub: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {
        "version": 1,
        "log": {"level": "info", "format": "json"},
        "gateway": {"listen": "127.0.0.1:0", "identity": str(folder / "identity.pem"), "max_connections": 100_000},
        "network": {"url": stub["url"], "root_key": stub["root_key"]},
        "unlisted_canisters": "allow",
        "rate_limits": {"connections_per_ip": {"mode": "off"}, "messages_per_client": {"mode": "off"}},
        "control": {"listen": None},
    }
    for section, values in settings.items():
        base[section] = base.get(section, {}) | values if isinstance(values, dict) else values
    return base


async def _first_line(process: Process) -> dict[str, Any]:
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the process was started with pipes")
    async with asyncio.timeout(_START_S):
        line = await process.stdout.readline()
    if not line:
        raise BenchFailed(f"the stub IC did not start: {(await process.stderr.read()).decode(errors='replace')}")
    facts: dict[str, Any] = json.loads(line)
    return facts


async def _listening(gateway: Process) -> tuple[str, Principal]:
    """URL and principal, as the gateway logs them when it is ready."""
    if gateway.stderr is None:
        raise RuntimeError("the process was started with pipes")
    url, principal, said = None, None, []
    async with asyncio.timeout(_START_S):
        async for line in gateway.stderr:
            said.append(line.decode(errors="replace"))
            event = str(_entry(line).get("event", ""))
            if event == "listening":
                url = str(_entry(line)["url"])
            elif event.startswith(_PRINCIPAL):
                principal = Principal.from_text(event.removeprefix(_PRINCIPAL))
            if url is not None and principal is not None:
                return url, principal
    raise BenchFailed("the gateway did not start:\n" + "".join(said[-20:]))


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return entry


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(1 << 16):
        pass
