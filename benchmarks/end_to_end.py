"""Clients, gateway and localnet in separate processes on loopback: messages per second, and what the gateway pays.

``python -m benchmarks.end_to_end [--clients 50] [--messages 40] [--burst 400]`` prints a table and needs Linux.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.cli import loop
from appliance.client import Connection, connect
from appliance.crypto import Verifier
from appliance.localnet.websocket.pingpong import APP_MESSAGE

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What one way of talking cost. Times in seconds."""

    name: str
    clients: int
    up: int
    down: int
    wall: float
    gateway_cpu: float
    localnet_cpu: float
    waits: list[float]

    def row(self) -> list[str]:
        messages = self.up + self.down
        waits = sorted(self.waits)
        return [
            self.name,
            str(self.clients),
            str(self.up),
            str(self.down),
            f"{messages / self.wall:,.0f}",
            f"{self.gateway_cpu / messages * 1e6:,.0f}",
            f"{self.gateway_cpu / self.wall:.0%}",
            f"{self.localnet_cpu / messages * 1e6:,.0f}",
            f"{statistics.median(waits) * 1e3:,.1f}",
            f"{waits[int(len(waits) * 0.99)] * 1e3:,.1f}",
        ]


HEADS = [
    "",
    "clients",
    "up",
    "down",
    "messages/s",
    "gateway us/message",
    "gateway load",
    "localnet us/message",
    "wait ms p50",
    "p99",
]


def cpu_seconds(process: Process) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@asynccontextmanager
async def started(*arguments: str, **streams: int) -> AsyncIterator[Process]:
    """A Python process that is ended with the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, **streams)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def listening(gateway: Process) -> str:
    """The address that the gateway's log tells."""
    assert gateway.stderr is not None
    async for line in gateway.stderr:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("event") == "listening":
                return str(entry["url"])
    raise SystemExit("the gateway did not start")


def configuration(folder: str, net: dict[str, str]) -> Path:
    file = Path(folder) / "gateway.yaml"
    settings = {
        "version": 1,
        "log": {"level": "info", "format": "json"},
        "gateway": {"listen": "127.0.0.1:0", "identity": f"{folder}/identity.pem"},
        "network": {"url": net["url"], "root_key": net["root_key"]},
        "canisters": [{"id": net["canister"]}],
        "rate_limits": {"connections_per_ip": {"mode": "shadow"}, "messages_per_client": {"mode": "shadow"}},
    }
    file.write_text(json.dumps(settings))  # JSON is YAML
    return file


async def ping_pong(connection: Connection, messages: int) -> list[float]:
    """One message after the other, each answered; returns how long each answer took."""
    waits = []
    for number in range(messages):
        begun = time.perf_counter()
        await connection.send({"text": f"round {number}", "timestamp": time.time_ns()})
        await connection.receive()
        waits.append(time.perf_counter() - begun)
    return waits


async def burst(connection: Connection, messages: int) -> list[float]:
    """One message, answered by many; returns how long each took to arrive."""
    begun = time.perf_counter()
    await connection.send({"text": f"burst {messages}", "timestamp": time.time_ns()})
    waits = []
    for _ in range(messages):
        await connection.receive()
        waits.append(time.perf_counter() - begun)
    return waits


async def measured(
    name: str,
    connections: list[Connection],
    talk: Callable[[Connection], Awaitable[list[float]]],
    gateway: Process,
    localnet: Process,
    *,
    up: int,
    down: int,
) -> Run:
    processes = (gateway, localnet)
    before, begun = [cpu_seconds(process) for process in processes], time.perf_counter()
    waits = await asyncio.gather(*map(talk, connections))
    wall = time.perf_counter() - begun
    spent = [cpu_seconds(process) - at for process, at in zip(processes, before, strict=True)]
    number = len(connections)
    return Run(name, number, up * number, down * number, wall, *spent, [wait for some in waits for wait in some])


async def measure(clients: int, messages: int, many: int) -> list[Run]:
    async with AsyncExitStack() as stack:
        localnet = await stack.enter_async_context(started("benchmarks.localnet", stdin=PIPE, stdout=PIPE))
        assert localnet.stdout is not None
        net: dict[str, Any] = json.loads(await localnet.stdout.readline())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = configuration(folder, net)
        gateway = await stack.enter_async_context(started("appliance.cli", "run", "--config", str(file), stderr=PIPE))
        url = await listening(gateway)
        assert gateway.stderr is not None
        log = asyncio.create_task(gateway.stderr.read())
        stack.callback(log.cancel)
        verifier = Verifier(bytes.fromhex(net["root_key"]))
        connections = [
            await stack.enter_async_context(connect(url, net["canister"], verifier=verifier, message_type=APP_MESSAGE))
            for _ in range(clients)
        ]
        for connection in connections:
            await connection.receive()  # the greeting
        return [
            await measured(
                "ping-pong",
                connections,
                lambda c: ping_pong(c, messages),
                gateway,
                localnet,
                up=messages,
                down=messages,
            ),
            await measured("bursts", connections, lambda c: burst(c, many), gateway, localnet, up=1, down=many),
        ]


def show(runs: list[Run]) -> None:
    rows = [HEADS, *(run.row() for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    for row in rows:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--messages", type=int, default=40, help="round trips of each client")
    parser.add_argument("--burst", type=int, default=400, help="messages to each client at once")
    arguments = parser.parse_args()
    show(loop.run(measure(arguments.clients, arguments.messages, arguments.burst)))


if __name__ == "__main__":
    main()
