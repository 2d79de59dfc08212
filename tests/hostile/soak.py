"""Hostile and ordinary clients for many minutes, and what they leave behind: ``python -m tests.hostile``."""

import argparse
import asyncio
import os
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from appliance.bench import testbed as beds
from tests.hostile.clients import Attack, is_served
from tests.hostile.limits import BUDGET, LIMITS, MIB, OTHER

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
CLIENTS = 18
ADDRESSES = (1, 6)
"""Addresses that the attacks come from, in turn."""
PATIENCE_S = 120.0
"""Until nothing of the clients is left, when they have gone."""
LEAK = 8 * MIB
"""What memory may differ by between two times at which nobody is there."""
POOLED = 16
"""Connections to the IC that are kept open for the next request: more or fewer each time."""


@dataclass(frozen=True)
class Sample:
    """Of the gateway's process while nobody is connected: bytes resident, open files, threads, and clients in its
    journal."""

    rss: int
    descriptors: int
    threads: int
    journal: int

    @classmethod
    def of(cls, pid: int, journal: Path) -> "Sample":
        """Take it now."""
        process = Path("/proc") / str(pid)
        status = (process / "status").read_text()
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
            ((clients,),) = database.execute("SELECT count(*) FROM clients")
        return cls(
            int(status.partition("VmRSS:")[2].split()[0]) * 1024,
            len(os.listdir(process / "fd")),
            int(status.partition("Threads:")[2].split()[0]),
            clients,
        )


@dataclass
class Soak:
    """What came of a run."""

    minutes: float
    rounds: int = 0
    served: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """In the log of the gateway."""

    @property
    def settled(self) -> Sample:
        """After a third of the run. Before that, timelines and caches fill, which are bounded."""
        return self.samples[len(self.samples) // 3]

    def problems(self) -> list[str]:
        """In words; none where all is well."""
        first, last = self.settled, self.samples[-1]
        found = []
        if self.served < self.rounds:
            found.append(f"others were not served after {self.rounds - self.served} of {self.rounds} attacks")
        if self.peak > BUDGET + OTHER:
            found.append(f"memory grew by {self.peak / MIB:.0f} MiB, the limit is {(BUDGET + OTHER) / MIB:.0f}")
        if last.rss - first.rss > LEAK:
            found.append(f"{(last.rss - first.rss) / MIB:.1f} MiB of memory are left")
        if last.descriptors > first.descriptors + POOLED:
            found.append(f"{last.descriptors - first.descriptors} open files are left")
        if last.threads > first.threads:
            found.append(f"{last.threads - first.threads} threads are left")
        if last.journal:
            found.append(f"{last.journal} clients are left in the journal")
        if self.ends["close 1011"]:
            found.append(f"{self.ends['close 1011']} clients were closed with 1011")
        if self.errors:
            found.append(f"errors are in the log, the first: {self.errors[0]}")
        return found

    def table(self) -> str:
        """For the page."""
        first, last = self.settled, self.samples[-1]
        attacks = ", ".join(f"{end} x{count:,}" for end, count in self.ends.most_common(5))
        rows = [
            ("minutes", f"{self.minutes:.0f}"),
            ("attacks of 18 clients", f"{self.rounds:,}"),
            ("how their connections ended", attacks),
            ("attacks after which others were served", f"{self.served:,}"),
            ("`limits.memory`, MiB", f"{BUDGET / MIB:.0f}"),
            ("memory at most, beyond that of an idle gateway, MiB", f"{self.peak / MIB:.0f}"),
            ("memory left behind, MiB", f"{max(0, last.rss - first.rss) / MIB:.1f}"),
            ("open files left behind", f"{max(0, last.descriptors - first.descriptors)}"),
            ("threads left behind", f"{max(0, last.threads - first.threads)}"),
            ("clients left in the journal", f"{last.journal}"),
        ]
        return "| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


async def soak(minutes: float) -> Soak:
    """Attack a gateway again and again, from one address and from several in turn."""
    found = Soak(minutes)
    with TemporaryDirectory() as folder:
        identity, metrics = Path(folder) / "identity.pem", Path(folder) / "metrics.sock"
        settings: dict[str, Any] = {
            **LIMITS,
            "gateway": {"identity": str(identity)},
            "metrics": {"listen": f"unix:{metrics}"},
        }
        async with beds.own_testbed(settings) as testbed:
            pid = testbed.target.pid
            assert pid is not None
            for addresses in ADDRESSES:  # what the first attacks make a process allocate for good is no leak
                await _attack(testbed, addresses, found)
            until = time.monotonic() + 60 * minutes
            while not found.samples or time.monotonic() < until:
                await _nobody(metrics)
                found.samples.append(Sample.of(pid, identity.with_suffix(".journal")))
                for addresses in ADDRESSES:
                    await _attack(testbed, addresses, found)
            await _nobody(metrics)
            found.samples.append(Sample.of(pid, identity.with_suffix(".journal")))
            found.peak = _peak(pid) - found.samples[0].rss
            found.errors += testbed.errors
    return found


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def _attack(testbed: beds.Testbed, addresses: int, found: Soak) -> None:
    await testbed.configure(1.0, "none")
    attack = Attack(testbed, [f"127.0.1.{1 + number}" for number in range(addresses)], CLIENTS)
    await attack.run(1)
    found.ends += attack.ends
    found.rounds += 1
    found.served += await is_served(testbed)


async def _nobody(metrics: Path) -> None:
    """Wait until no client is connected and nothing of any is held."""
    until = time.monotonic() + PATIENCE_S
    while await _value(metrics, "icws_connections") or await _value(metrics, "icws_held_bytes"):
        if time.monotonic() > until:
            raise TimeoutError("clients are still there")
        await asyncio.sleep(0.2)
    await asyncio.sleep(3)  # the calls that report clients to their canister, and the commit of the journal


async def _value(metrics: Path, name: str) -> float:
    reader, writer = await asyncio.open_unix_connection(str(metrics))
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
    finally:
        writer.close()
    found = re.search(rf"^{name} (\S+)", text, re.MULTILINE)
    assert found is not None, text[:300]
    return float(found[1])


def with_table(page: str, table: str) -> str:
    """The page with another table. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition("<!-- hostile -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no section for hostile clients")
    return before + begin + table + end + after


def main() -> int:
    """Returns 1 where something is left, or others were not served."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    options = parser.parse_args()
    found = asyncio.run(soak(options.minutes))
    print("\n".join(map(str, found.samples)))
    print(found.table())
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(), found.table()))
    problems = found.problems()
    print("\n".join(problems) or "nothing is left behind, and everybody was served")
    return 1 if problems else 0
