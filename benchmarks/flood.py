"""What others notice of a flood: echoes through a gateway before, during and after one address floods it.

5,000 idle sessions are there all the time. ``python -m benchmarks.flood [KIND]...`` prints a line for each kind of
flood, and ends with status 1 where others notice more than they may, the flooder is never closed or refused, or the
gateway logs an error, which is printed too;
``--write`` puts the lines into docs/reliability.md. With ``--tls`` everybody speaks TLS, and there are kinds of floods
that are for TLS alone (``flooder.TLS_KINDS``).

The gateway has one core; the flooder, the clients that measure and the stub IC share another. While there is no flood,
a spinner takes the part of that core that the flooder would have, so that the clients that measure have as much of it
each time.

All limits of the gateway are as they are by default. The flooder comes from 127.0.0.2 and opens a new connection
whenever one is closed; the codes and statuses that it was closed with are printed too. The idle sessions come from
addresses of their own.
"""

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.bench.result import Load, Result
from appliance.bench.scenarios import echo
from appliance.bench.target import unverified
from appliance.bench.testbed import Testbed, canister, own_testbed, raise_open_files
from appliance.bench.wire import LoadIdentity, opening_frame
from appliance.ic.principal import Principal
from benchmarks.flooder import KINDS, TLS_KINDS, UPGRADE, Flooder, frame, read_frame

LIMIT = 2.0
"""How many times its calm value the others' 99th percentile may be."""
LOAD = Load(clients=10, rate=100.0, seconds=8.0, size=200)
"""Ten clients that send ten messages a second each."""
IDLE = 5000
"""Sessions in which nothing happens, beside every flood."""
IDLE_OF_ADDRESS = 80
"""Those of one address: fewer than may come at once."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
CORES = sorted(os.sched_getaffinity(0))
"""The first is the gateway's, the last that of all others."""

# --- the idle sessions, a process of their own ------------------------------------------------------------------------


class Idle:
    """Opens sessions, writes a line when all are open, and answers pings until its standard input ends."""

    def __init__(self, port: int, gateway: Principal, sessions: int, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self.tls = tls
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
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(address, 0), ssl=self.tls
            )
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(opening_frame(client, canister(0), self.gateway, time.time_ns()))
            for _ in range(2):  # the greeting, and the canister's opening message
                await read_frame(reader)
        self.opened.release()
        while True:
            first, payload = await read_frame(reader)
            if first == 0x89:
                writer.write(frame(0x8A, payload))


@asynccontextmanager
async def idling(testbed: Testbed, sessions: int) -> AsyncIterator[None]:
    """Sessions in which nothing happens."""
    await testbed.configure(0.05, "none")
    arguments = ["--idle", str(sessions), "--idler", _port(testbed), str(testbed.target.principal), *_tls(testbed)]
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
async def flooding(testbed: Testbed, kind: str, ends: Counter[str]) -> AsyncIterator[None]:
    """A flooder in a process of its own; adds up in ``ends`` how its connections ended."""
    command = [sys.executable, "-m", "benchmarks.flood", "--flooder", _port(testbed), kind, *_tls(testbed)]
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


def _tls(testbed: Testbed) -> list[str]:
    """The option for a process that connects."""
    return [] if testbed.target.tls is None else ["--tls"]


def certificate(folder: Path) -> dict[str, str]:
    """``gateway.tls`` with a new certificate. Raises CalledProcessError and OSError."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=gateway", "-days", "30", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - a fixed command
    return {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}


async def measure(testbed: Testbed, kind: str) -> Measured:
    """Echoes while it is calm, during a flood, and while it is calm again."""
    ends = Counter[str]()
    with spinning():
        before = await echo(testbed, LOAD)
    async with flooding(testbed, kind, ends):
        during = await echo(testbed, LOAD)
    with spinning():
        after = await echo(testbed, LOAD)
    return Measured(kind, (before, during, after), ends, testbed.errors)


async def run(kinds: Sequence[str], idle: int, tls: dict[str, str] | None) -> list[Measured]:
    """Measure each kind, with a gateway of its own; ``tls`` is its ``gateway.tls``."""
    print(f"{'':14} {'calm, ms':>14}   {'flood, ms':>14}   {'calm, ms':>14}   {'ratio':>5}   {'lost':>4}   flooder")
    print(f"{'':14} {'p50':>6} {'p99':>7}   {'p50':>6} {'p99':>7}   {'p50':>6} {'p99':>7}", flush=True)
    limited = {"mode": "enforce"}
    scopes = ("connections_per_ip", "tls_handshakes_per_ip", "frames_per_ip", "frames_per_connection")
    settings = {
        "gateway": {} if tls is None else {"tls": tls},
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
    named = f"of {', '.join(KINDS)}, and with --tls of {', '.join(TLS_KINDS)}"
    parser.add_argument("kinds", metavar="KIND", nargs="*", help=f"{named}; all by default")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--idle", type=int, default=IDLE, metavar="SESSIONS", help="idle sessions meanwhile")
    parser.add_argument("--flooder", metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--idler", nargs=2, metavar=("PORT", "PRINCIPAL"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    possible = (*KINDS, *TLS_KINDS) if chosen.tls else KINDS
    if unknown := set(chosen.kinds) - set(possible):
        parser.error(f"there is no flood of {', '.join(sorted(unknown))}; there are {', '.join(possible)}")
    if chosen.tls and chosen.write:
        parser.error("the table of docs/reliability.md is that of floods without TLS")
    kinds = chosen.kinds or possible
    os.sched_setaffinity(0, {CORES[-1]})
    if chosen.flooder is not None:
        asyncio.run(Flooder(int(chosen.flooder), kinds[0], with_tls=chosen.tls).run())
    elif chosen.idler is not None:
        port, gateway = chosen.idler
        tls = unverified() if chosen.tls else None
        asyncio.run(Idle(int(port), Principal.from_text(gateway), chosen.idle, tls).run())
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(run(kinds, chosen.idle, certificate(Path(folder)) if chosen.tls else None))
        if chosen.write:
            PAGE.write_text(with_table(PAGE.read_text(), table(found)))
        sys.exit(0 if all(each.is_good for each in found) else 1)


if __name__ == "__main__":
    main()
