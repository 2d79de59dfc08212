"""Processes of a run, and the CPU and memory they use (Linux, ``proc(5)``)."""

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Usage:
    """Resources of a process: CPU so far of all its threads, ended ones too, and of its first thread, which runs the
    event loop (both in seconds), resident memory in bytes, and the number of threads now."""

    cpu_s: float
    loop_cpu_s: float
    rss: int
    threads: int

    @staticmethod
    def of(pid: int) -> "Usage":
        """Read it now. Raises OSError if the process is gone."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        loop_ns = int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])
        return Usage(_cpu_s(pid), loop_ns / 1e9, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), int(fields[17]))


def _cpu_s(pid: int) -> float:
    """Read the CPU clock of a process: to the nanosecond, while ``/proc/PID/stat`` counts ticks of 10 ms."""
    # As clock_getcpuclockid(3) makes it: the inverted process id above three bits, of which 2 is CPUCLOCK_SCHED.
    return time.clock_gettime((~pid << 3) | 2)


@asynccontextmanager
async def started(arguments: Sequence[str]) -> AsyncIterator[Process]:
    """Run ``python -m …`` with pipes, and terminate it with the block."""
    spawning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=1 << 20
        )
    )
    try:
        process = await asyncio.shield(spawning)
    except asyncio.CancelledError:  # uvloop would kill it, but not wait for its end
        await _end(await spawning)
        raise
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
