"""A node as a process: ``icws run`` in a folder of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[3]
NAMES = ("a", "b", "c")


class NodeProcess:
    """A node that may be started again and again. ``release`` is the folder of the checkout that it runs.

    It finds the engine and the peers under names in its own folder: its own address is the socket that it listens at,
    and those of the others, which it knows by the same path, are wires to theirs. ``log`` has what it logged, in all
    its lives.
    """

    def __init__(self, name: str, folder: Path, config: dict[str, Any], *, release: Path = TOP) -> None:
        self.name = name
        self.folder = folder
        self.url: str | None = None
        """Of the socket for clients; None while it does not run."""
        self.log: list[dict[str, Any]] = []
        self.crashes: list[str] = []
        """Lines that it wrote and that are none of its log."""
        self.is_harmed = False
        """Whether it stands still, or others may have given it up, by a fault that goes on."""
        self._release = release
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._file = folder / "gateway.yaml"
        self._file.write_text(yaml.safe_dump(config))

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it stopped."""
        return self._process is not None

    @property
    def contact(self) -> str:
        """What its log says of the engine: ``joined``, ``away`` or ``unknown``."""
        for line in reversed(self.log):
            if line["event"] == "joined the cluster":
                return "joined"
            if line["event"] in ("this node goes on without its cluster", _STARTED):
                return "away"
        return "unknown"

    def count(self, event: str) -> int:
        """How many lines its log has of an event."""
        return sum(line["event"] == event for line in self.log)

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self.log.append({"event": _STARTED, "level": "info", "timestamp": datetime.now(UTC).isoformat()})
        path = os.pathsep.join([str(self._release), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "appliance.cli", "run", "--config", str(self._file)),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        async with self._news:
            await self._news.wait_for(lambda: self.url or self._has_ended)
        if self.url is None:
            raise NodeEnded(f"node {self.name} does not start: {[*self.crashes, *self.log[-3:]]}")

    async def kill(self) -> None:
        """End it at once."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it in order. Returns its exit code."""
        return await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def errors(self) -> Iterator[str]:
        """What it logged as errors, and what it wrote that is no log."""
        for line in self.log:
            if line["level"] in ("error", "critical") or "exception" in line:
                yield f"node {self.name} logged: {line}"
        yield from (f"node {self.name} wrote: {line}" for line in self.crashes)

    @property
    def _has_ended(self) -> bool:
        return self._reading is None or self._reading.done()

    async def _end(self, number: int) -> int:
        process, self._process, self.url = self._process, None, None
        assert process is not None
        assert self._reading is not None
        if process.returncode is None:
            process.send_signal(number)
        code = await process.wait()
        await self._reading
        return code

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        try:
            async for raw in self._process.stderr:
                text = raw.decode().rstrip()
                try:
                    line = json.loads(text)
                except ValueError:
                    self.crashes.append(text)
                    continue
                self.log.append(line)
                if line["event"] == "listening":
                    async with self._news:
                        self.url = line["url"]
                        self._news.notify_all()
        finally:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._tell()))

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


class NodeEnded(Exception):
    """It ended instead of listening."""


_STARTED = "the process was started"
