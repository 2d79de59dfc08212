"""Runs drivers under Node in a project with its own packages, and talks to them in lines of JSON."""

import asyncio
import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
PATIENCE_S = 30.0
"""For one line of a driver; a driver that says nothing for so long hangs."""


class Unavailable(Exception):
    """Node or the packages are not here; the text says what to do."""


def project(name: str) -> Path:
    """The folder of a project, with its packages installed from its lock file. Raises Unavailable."""
    return _projects()[name].result()


@cache
def _projects() -> Mapping[str, Future[Path]]:
    """All of them; what is missing is installed at the same time, since most of that is waiting."""
    folders = [file.parent for file in HERE.glob("*/package.json")]
    pool = ThreadPoolExecutor(len(folders), thread_name_prefix="npm")
    futures = {folder.name: pool.submit(prepared, folder) for folder in folders}
    pool.shutdown(wait=False)
    return futures


def prepared(folder: Path) -> Path:
    """A folder with a package.json, with its packages installed from its lock file. Raises Unavailable."""
    if shutil.which("node") is None:
        raise Unavailable("the interop tests need node 20 or newer on the PATH")
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process that runs tests may be at it
        if not _is_installed(folder):
            _install(folder)
    return folder


def _is_installed(folder: Path) -> bool:
    installed, wanted = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    if not installed.exists():
        return False
    packages = json.loads(wanted.read_text())["packages"]
    present = json.loads(installed.read_text())["packages"]
    return all(
        present.get(name, {}).get("version") == package["version"]
        for name, package in packages.items()
        if name.startswith("node_modules/") and not package.get("link") and not package.get("optional")
    )


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"npm is not on the PATH, and {folder.name} has no node_modules; install npm")
    done = subprocess.run([npm, "ci", "--no-progress"], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Unavailable(f"npm ci in {folder.name} failed: {done.stderr.strip()[-500:]}")


class Driver:
    """``async with Driver(project, script, options) as driver`` runs ``drivers/<script>`` in a project's folder."""

    def __init__(self, folder: Path, script: str, options: dict[str, Any]) -> None:
        self._folder = folder
        self._script = HERE / "drivers" / script
        self._options = json.dumps(options)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            "node",
            str(self._script),
            self._options,
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        self._complaints = asyncio.create_task(self._process.stderr.read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        complaints = (await self._complaints).decode(errors="replace")
        if error is not None and complaints:
            error.add_note(f"the driver said:\n{complaints[-4000:]}")

    async def tell(self, **command: Any) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def line(self) -> dict[str, Any] | None:
        """The next line; None at the end."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        while line and not line.startswith(b"{"):  # the SDK's own log
            line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    async def lines(self) -> list[dict[str, Any]]:
        """All that follow."""
        lines = []
        while (line := await self.line()) is not None:
            lines.append(line)
        return lines

    async def expect(self, event: str) -> dict[str, Any]:
        """The next line, which must be this event."""
        line = await self.line()
        assert line is not None, f"expected {event}, but the driver has ended"
        assert line["event"] == event, f"expected {event}, not {line}"
        return line

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that must follow, whatever comes before it."""
        lines = await self.lines()
        assert lines, "the driver ended without a close"
        assert lines[-1]["event"] == "close", lines
        return lines[-1]["code"], lines[-1]["reason"]
