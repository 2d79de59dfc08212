"""A process that runs a configuration and stops dead at one step of the next apply, to be killed there.

``python -m tests.control.reload.dying FILE STEP``: says what it runs, applies the file when it is told to on its
standard input, and says where it is.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from appliance.config.schema import Config
from appliance.config.source import Source, start
from appliance.control.reload.reloads import Reloads


def stop_dead(step: str) -> NoReturn:
    print("at", step, flush=True)
    while True:
        signal.pause()


class Dying:
    """A part that stops at a step."""

    def __init__(self, step: str) -> None:
        self._step = step

    async def prepare(self, _: Config) -> "Dying":
        self._at("prepare")
        return self

    def commit(self) -> None:
        self._at("commit")

    async def rollback(self) -> None:
        self._at("rollback")

    async def cleanup(self) -> None:
        self._at("cleanup")

    def _at(self, step: str) -> None:
        if step == self._step:
            stop_dead(step)


def stop_at_write(number: int) -> None:
    """Of what is written down from now on, before it is in its place."""
    writes, replace = iter(range(1, 100)), os.replace

    def replaced(old: str, new: Path) -> None:
        if next(writes) == number:
            stop_dead("write")
        replace(old, new)

    os.replace = replaced


async def run(file: Path, step: str) -> None:
    begun = start(Source(file))
    async with Reloads(begun, [Dying(step)]) as reloads:
        print(reloads.config.log.level, reloads.revision, len(begun.warnings), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        if step.startswith("write"):
            stop_at_write(int(step[-1]))
        await reloads.apply(trigger="signal", actor="SIGHUP")
        print("applied", reloads.config.log.level, reloads.revision, flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))
