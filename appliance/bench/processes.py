"""The processes of a run, and what the kernel says that they cost (Linux, ``proc(5)``)."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Usage:
    """CPU of a process so far (seconds, all of its threads, those that ended too), its resident memory in bytes, and
    how many threads it has now."""

    cpu_s: float
    rss: int
    threads: int

    @staticmethod
    def of(pid: int) -> "Usage":
        """Read it now. Raises OSError where the process is gone."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        return Usage(cpu_s, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), int(fields[17]))


@asynccontextmanager
async def started(arguments: Sequence[str], *, cpu: int | None = None) -> AsyncIterator[Process]:
    """A Python process ``python -m …`` with its output as pipes, terminated with the block; ``cpu`` pins it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=1 << 20
    )
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})  # it has one thread yet; those it starts inherit the mask
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
