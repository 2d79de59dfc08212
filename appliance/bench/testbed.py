"""What a scenario runs against: the stub IC and the gateway, and commands to the stub."""

import asyncio
import json
import resource
import secrets
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from appliance.bench.processes import Usage, started
from appliance.bench.stub.server import Latencies
from appliance.bench.target import BenchFailed, Target, unverified
from appliance.crypto import Verifier
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import LOCAL_IDS, canister_id

_PRINCIPAL_EVENT = "Gateway Agent principal: "
_START_S = 60.0
_HARMLESS = ("debug", "info", "warning")
"""Levels of entries of the log that report no error."""
_MAX_ERRORS = 50
_LIMITS = (
    "connections_per_ip",
    "tls_handshakes_per_ip",
    "frames_per_ip",
    "frames_per_connection",
    "bytes_per_connection",
    "messages_per_client",
)
"""The rate limits that are on by default: all load comes from one address."""


@dataclass(frozen=True)
class Testbed:
    """A stub IC and the gateway in front of it. ``stub_pid`` is None if its process is not ours. ``latencies`` are what
    the run adds to the block time of its scenarios. ``errors`` are the first lines of the gateway's log that report an
    error, or are no entries of the log, as those of a traceback that nobody caught; none where its process is not ours.
    """

    stub_url: str
    root_key: bytes
    target: Target
    stub_pid: int | None = None
    latencies: Latencies = field(default_factory=Latencies)
    errors: list[str] = field(default_factory=list)

    @property
    def verifier(self) -> Verifier:
        """A new verifier that trusts the stub."""
        return Verifier(self.root_key)

    @property
    def usage(self) -> Usage | None:
        """What the gateway's process used so far."""
        return None if self.target.pid is None else Usage.of(self.target.pid)

    @property
    def stub_usage(self) -> Usage | None:
        """What the stub's process used so far: near a core, the stub is the bottleneck."""
        return None if self.stub_pid is None else Usage.of(self.stub_pid)

    @staticmethod
    def client_seed() -> bytes:
        """Return a seed for keys that no session of this gateway has had."""
        return secrets.token_bytes(16)

    async def configure(self, block_s: float, response: str) -> None:
        """Set what the canisters do with messages, and the time of a block unless the latencies have one."""
        latencies = replace(self.latencies, block_s=max(block_s, self.latencies.block_s))
        await self.command("configure", response=response, latencies=astuple(latencies))

    async def command(self, name: str, **arguments: object) -> dict[str, Any]:
        """Run a command of the stub. Raises BenchFailed if it refuses or is not there."""
        return await command_stub(self.stub_url, name, **arguments)


def canister(number: int) -> Principal:
    """Return the id of one of the stub's canisters; any number below a million."""
    return canister_id(LOCAL_IDS[0] + number)


async def command_stub(url: str, name: str, **arguments: object) -> dict[str, Any]:
    """Run a command of the stub at this URL. Raises BenchFailed if it refuses or is not there."""
    status, body = await _post(url, f"/bench/{name}", orjson.dumps(arguments))
    if status != 200:
        raise BenchFailed(f"the stub IC at {url} refused the command {name}: {body.decode(errors='replace')}")
    answer: dict[str, Any] = orjson.loads(body)
    return answer


async def _post(url: str, path: str, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        raise BenchFailed(f"there is no stub IC at {url}: {error}; `icws bench --stub-only` serves one") from error
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
async def own_testbed(
    settings: dict[str, Any],
    *,
    seed: str | None = None,
    latencies: Latencies | None = None,
    under: Sequence[str] = (),
) -> AsyncIterator[Testbed]:
    """Start a stub, and a gateway of this installation with these settings over the defaults, each in its process.

    ``under`` is a Python module with its arguments that runs the gateway's, such as a profiler. Raises BenchFailed if
    one of them does not start.
    """
    raise_open_files()
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(started(["appliance.bench.stub", "0", seed or ""]))
        served = await _first_line(stub)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="icws-bench-")))
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(gateway_settings(folder, served, settings)))  # JSON is YAML
        gateway = await stack.enter_async_context(started([*under, "appliance.cli", "run", "--config", str(file)]))
        url, principal = await _listening(gateway)
        errors: list[str] = []
        reading = (_discard(gateway.stdout), _discard(stub.stderr), _collect_errors(gateway.stderr, errors))
        for each in reading:  # a full pipe would stop the process
            stack.callback(asyncio.ensure_future(each).cancel)
        target = Target(url, principal, gateway.pid, unverified() if url.startswith("wss:") else None)
        root_key = bytes.fromhex(served["root_key"])
        yield Testbed(served["url"], root_key, target, stub.pid, latencies or Latencies(), errors)


async def foreign_testbed(stub_url: str, target: Target, *, latencies: Latencies | None = None) -> Testbed:
    """Use a stub and a gateway that are running already. Raises BenchFailed if the stub is not there."""
    raise_open_files()
    chosen = latencies or Latencies()
    answer = await command_stub(stub_url, "configure", response="none", latencies=astuple(chosen))
    return Testbed(stub_url, bytes.fromhex(answer["root_key"]), target, None, chosen)


def raise_open_files() -> None:
    """Allow this process and those that it starts as many open files as the system lets it: one per connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def gateway_settings(folder: Path, stub: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a gateway in front of a stub, with these settings section by section over it."""
    base: dict[str, Any] = {
        "version": 1,
        "log": {"level": "info", "format": "json"},
        "gateway": {"listen": "127.0.0.1:0", "identity": str(folder / "identity.pem"), "max_connections": 100_000},
        "network": {"url": stub["url"], "root_key": stub["root_key"]},
        "unlisted_canisters": "allow",
        "limits": {"held_per_address": {"mode": "off"}},
        "rate_limits": {scope: {"mode": "off"} for scope in _LIMITS},
        "control": {"listen": None},
    }
    for section, values in settings.items():
        base[section] = base.get(section, {}) | values if isinstance(values, dict) else values
    return base


async def _first_line(stub: Process) -> dict[str, Any]:
    output, errors = cast("asyncio.StreamReader", stub.stdout), cast("asyncio.StreamReader", stub.stderr)
    async with _starting("the stub IC"):
        line = await output.readline()
    if not line:
        raise BenchFailed(f"the stub IC did not start: {(await errors.read()).decode(errors='replace')}")
    served: dict[str, Any] = json.loads(line)
    return served


async def _listening(gateway: Process) -> tuple[str, Principal]:
    """Return URL and principal, as the gateway logs them when it is ready."""
    url, principal, log = None, None, []
    async with _starting("the gateway"):
        async for line in cast("asyncio.StreamReader", gateway.stderr):
            log.append(line.decode(errors="replace"))
            entry = _entry(line)
            event = str(entry.get("event", ""))
            if event == "listening":
                url = str(entry["url"])
            elif event.startswith(_PRINCIPAL_EVENT):
                principal = Principal.from_text(event.removeprefix(_PRINCIPAL_EVENT))
            if url is not None and principal is not None:
                return url, principal
    raise BenchFailed("the gateway did not start:\n" + "".join(log[-20:]))


@asynccontextmanager
async def _starting(name: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_START_S):
            yield
    except TimeoutError as error:
        raise BenchFailed(f"{name} did not start within {_START_S:g} s") from error


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return entry


async def _collect_errors(stream: asyncio.StreamReader | None, errors: list[str]) -> None:
    if stream is None:
        return
    async for line in stream:
        if len(errors) < _MAX_ERRORS and _entry(line).get("level") not in _HARMLESS:
            errors.append(line.decode(errors="replace").rstrip())


async def _discard(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(1 << 16):
        pass
