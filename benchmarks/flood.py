"""What others notice of a flood: echoes through a gateway before, during and after one address floods it.

5,000 idle sessions are there all the time. ``python -m benchmarks.flood [KIND]...`` prints a line for each kind of
flood, and ends with status 1 where others notice more than they may, the flooder is never closed or refused, or the
gateway logs an error, which is printed too;
``--write`` puts the lines into docs/reliability.md.

The gateway has one core; the flooder, the clients that measure and the stub IC share another. While there is no flood,
a spinner takes the part of that core that the flooder would have, so that the clients that measure have as much of it
each time.

All limits of the gateway are as they are by default. The flooder comes from 127.0.0.2 and opens a new connection
whenever one is closed; the codes and statuses that it was closed with are printed too. The idle sessions come from
addresses of their own.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import task_end
from appliance.bench.result import Load, Result
from appliance.bench.scenarios import echo
from appliance.bench.testbed import Testbed, canister, own_testbed, raise_open_files
from appliance.bench.wire import LoadIdentity, opening_frame
from appliance.ic.principal import Principal

FLOODER = "127.0.0.2"
LIMIT = 2.0
"""How many times its calm value the others' 99th percentile may be."""
LOAD = Load(clients=10, rate=100.0, seconds=8.0, size=200)
"""Ten clients that send ten messages a second each."""
PIECE = 64 * 1024
"""Bytes of one write of a flood."""
SILENT = 5000
"""Sockets of the flood that does nothing."""
IDLE = 5000
"""Sessions in which nothing happens, beside every flood."""
IDLE_OF_ADDRESS = 80
"""Those of one address: fewer than may come at once."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
CORES = sorted(os.sched_getaffinity(0))
"""The first is the gateway's, the last that of all others."""

_MASK = bytes(4)
_UPGRADE = (
    "GET /v2 HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
).encode()


def frame(first: int, payload: bytes = b"") -> bytes:
    """A frame of a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        return bytes([first, 0x80 | size]) + _MASK + payload
    return bytes([first, 0xFF]) + size.to_bytes(8, "big") + _MASK + payload


FLOODS = {
    "pings": frame(0x89) * (PIECE // 6),
    "pongs": frame(0x8A) * (PIECE // 6),
    "fragments": frame(0x02) + frame(0x00) * (PIECE // 6),
    "tiny": frame(0x82, b"x") * (PIECE // 7),
    "large": frame(0x02, bytes(2 << 20)),
}
"""What is sent again and again behind an upgrade, by kind."""
KINDS = (*FLOODS, "connects", "half-upgrades", "silent")


# --- the flooder, a process of its own --------------------------------------------------------------------------------


class Flooder:
    """Floods one port until its standard input ends, and then writes how its connections ended."""

    def __init__(self, port: int, kind: str) -> None:
        self.port = port
        self.kind = kind
        self.ends: Counter[str] = Counter()

    async def run(self) -> None:
        sockets = SILENT if self.kind == "silent" else 4
        flooding = [asyncio.ensure_future(self._flood()) for _ in range(sockets)]
        await asyncio.to_thread(sys.stdin.read)
        for one in flooding:
            one.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        print(json.dumps(self.ends), flush=True)

    async def _flood(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._connection()
            if self.kind == "silent":
                await asyncio.sleep(1)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(FLOODER, 0))
        try:
            self.ends[await self._use(reader, writer)] += 1
        except (OSError, asyncio.IncompleteReadError):
            self.ends["reset"] += 1
        finally:
            writer.close()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        if self.kind == "silent":
            return "reset" if not await reader.read() else "answered"
        if self.kind == "half-upgrades":
            writer.write(_UPGRADE[:-2])
            await asyncio.sleep(0)
            return "left"
        writer.write(_UPGRADE)
        status = (await reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1].decode()
        if status != "101" or self.kind == "connects":
            return f"HTTP {status}"
        sending = asyncio.ensure_future(self._send(writer))
        try:
            return await _close_code(reader)
        finally:
            with contextlib.suppress(OSError):
                await task_end.cancel(sending)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(FLOODS[self.kind])
            await writer.drain()


async def _close_code(reader: asyncio.StreamReader) -> str:
    """Read frames until the close frame; returns its code."""
    while True:
        first, payload = await _frame(reader)
        if first == 0x88:
            return f"close {int.from_bytes(payload[:2], 'big')}"


# --- the idle sessions, a process of their own ------------------------------------------------------------------------


class Idle:
    """Opens sessions, writes a line when all are open, and answers pings until its standard input ends."""

    def __init__(self, port: int, gateway: Principal, sessions: int) -> None:
        self.port = port
        self.gateway = gateway
        self.sessions = sessions
        self.opened = asyncio.Semaphore(0)

    async def run(self) -> None:
        raise_open_files()
        seed, room = os.urandom(16), asyncio.Semaphore(50)
        tasks = [asyncio.ensure_future(self._stay(LoadIdentity(seed, number), room)) for number in range(self.sessions)]
        for _ in tasks:
            await self.opened.acquire()
        print(len(tasks), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stay(self, client: LoadIdentity, room: asyncio.Semaphore) -> None:
        address = f"127.0.3.{1 + client.number // IDLE_OF_ADDRESS}"
        async with room:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
            writer.write(_UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(opening_frame(client, canister(0), self.gateway, time.time_ns()))
            for _ in range(2):  # the greeting, and the canister's opening message
                await _frame(reader)
        self.opened.release()
        while True:
            first, payload = await _frame(reader)
            if first == 0x89:
                writer.write(frame(0x8A, payload))


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first, await reader.readexactly(size)


@asynccontextmanager
async def idling(testbed: Testbed, sessions: int) -> AsyncIterator[None]:
    """Sessions in which nothing happens."""
    await testbed.configure(0.05, "none")
    arguments = ("--idle", str(sessions), "--idler", _port(testbed), str(testbed.target.principal))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.flood", *arguments, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        if not await process.stdout.readline():
            raise RuntimeError("the idle sessions were not opened")
        yield
    finally:
        await process.communicate(b"")


# --- the measurement --------------------------------------------------------------------------------------------------


@contextmanager
def spinning() -> Iterator[None]:
    """A process that does nothing, and all the time."""
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


@asynccontextmanager
async def flooding(port: str, kind: str, ends: Counter[str]) -> AsyncIterator[None]:
    """A flooder in a process of its own; adds up in ``ends`` how its connections ended."""
    command = [sys.executable, "-m", "benchmarks.flood", "--flooder", port, kind]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        await asyncio.sleep(1)
        yield
    finally:
        output, _ = await process.communicate(b"")
        ends.update(json.loads(output.splitlines()[-1]) if output.strip() else {})


@dataclass(frozen=True)
class Measured:
    """Echoes before, during and after a flood, and how the connections of the flooder ended."""

    kind: str
    phases: tuple[Result, Result, Result]
    ends: Counter[str]
    errors: Sequence[str] = ()
    """In the log of the gateway."""

    @property
    def ratio(self) -> float:
        """The 99th percentile during the flood over the larger calm one."""
        before, during, after = (_p(phase, 0.99) for phase in self.phases)
        return during / max(before, after)

    @property
    def lost(self) -> int:
        """Messages of others that did not come back."""
        return self.phases[1].offered - self.phases[1].done

    @property
    def is_good(self) -> bool:
        """Whether the others noticed little, the flooder was answered, and the gateway logged no error."""
        return self.ratio <= LIMIT and not self.lost and bool(self.ends) and not self.errors

    @property
    def answers(self) -> str:
        """How the connections of the flooder ended, the most frequent first."""
        return ", ".join(f"{end} x{number}" for end, number in self.ends.most_common(4)) or "held"

    def line(self) -> str:
        """For the terminal."""
        cells = [f"{_p(each, 0.5):6.1f} {_p(each, 0.99):7.1f}" for each in self.phases]
        return f"{self.kind:14} {'   '.join(cells)}   {self.ratio:5.2f}   {self.lost:4}   {self.answers}"

    def row(self) -> str:
        """For the page."""
        cells = [f"{_p(each, 0.5):.1f} / {_p(each, 0.99):.1f}" for each in self.phases]
        return f"| {self.kind} | {' | '.join(cells)} | {self.ratio:.2f} | {self.lost} | {self.answers} |\n"


def _p(result: Result, share: float) -> float:
    value = result.latency.quantile(share)
    return float("nan") if value is None else value / 1e6


def _port(testbed: Testbed) -> str:
    return testbed.target.url.rpartition(":")[2]


async def measure(testbed: Testbed, kind: str) -> Measured:
    """Echoes while it is calm, during a flood, and while it is calm again."""
    ends = Counter[str]()
    with spinning():
        before = await echo(testbed, LOAD)
    async with flooding(_port(testbed), kind, ends):
        during = await echo(testbed, LOAD)
    with spinning():
        after = await echo(testbed, LOAD)
    return Measured(kind, (before, during, after), ends, testbed.errors)


async def run(kinds: Sequence[str], idle: int) -> list[Measured]:
    """Measure each kind, with a gateway of its own."""
    print(f"{'':14} {'calm, ms':>14}   {'flood, ms':>14}   {'calm, ms':>14}   {'ratio':>5}   {'lost':>4}   flooder")
    print(f"{'':14} {'p50':>6} {'p99':>7}   {'p50':>6} {'p99':>7}   {'p50':>6} {'p99':>7}", flush=True)
    limited = {"mode": "enforce"}
    scopes = ("connections_per_ip", "tls_handshakes_per_ip", "frames_per_ip", "frames_per_connection")
    settings = {
        "limits": {"held_per_address": limited},
        "rate_limits": dict.fromkeys((*scopes, "bytes_per_connection", "messages_per_client"), limited),
    }
    found = []
    for kind in kinds:
        async with own_testbed(settings) as testbed:
            for task in os.listdir(f"/proc/{testbed.target.pid}/task"):
                os.sched_setaffinity(int(task), {CORES[0]})
            async with idling(testbed, idle):
                found.append(await measure(testbed, kind))
            print("\n".join([found[-1].line(), *found[-1].errors]), flush=True)
    return found


def table(found: Sequence[Measured]) -> str:
    """The lines for the page."""
    head = "| flood | calm | flood | calm | ratio | lost | flooder |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    return head + "".join(each.row() for each in found)


def with_table(page: str, table: str) -> str:
    """The page with another table. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition("<!-- flood -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no section for floods")
    return before + begin + table + end + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("kinds", metavar="KIND", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--idle", type=int, default=IDLE, metavar="SESSIONS", help="idle sessions meanwhile")
    parser.add_argument("--flooder", metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--idler", nargs=2, metavar=("PORT", "PRINCIPAL"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if unknown := set(chosen.kinds) - set(KINDS):
        parser.error(f"there is no flood of {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    os.sched_setaffinity(0, {CORES[-1]})
    if chosen.flooder is not None:
        asyncio.run(Flooder(int(chosen.flooder), chosen.kinds[0]).run())
    elif chosen.idler is not None:
        port, gateway = chosen.idler
        asyncio.run(Idle(int(port), Principal.from_text(gateway), chosen.idle).run())
    else:
        found = asyncio.run(run(chosen.kinds, chosen.idle))
        if chosen.write:
            PAGE.write_text(with_table(PAGE.read_text(), table(found)))
        sys.exit(0 if all(each.is_good for each in found) else 1)


if __name__ == "__main__":
    main()
