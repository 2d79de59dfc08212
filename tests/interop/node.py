"""Runs drivers under Node in a project with its own packages, and talks to them in lines of JSON."""

import asyncio
import atexit
import fcntl
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
PATIENCE_S = 30.0
"""For one line of a driver; a driver that says nothing for so long hangs."""
AGAIN = b'{"again": true}\n'
"""The last line of a run that has left nothing behind."""


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


class _Host:
    """A process that runs a driver again and again, one run after another."""

    def __init__(self, folder: Path, script: Path) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="icws-node")
        self.address = f"{self._place.name}/socket"
        self._log = Path(self._place.name, "log")
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("wb") as log:
            listener.bind(self.address)
            listener.listen()
            number = listener.fileno()
            self._process = subprocess.Popen(  # noqa: S603
                ["node", str(HERE / "drivers" / "host.cjs"), str(script), str(number)],  # noqa: S607
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(number,),
            )

    def complaints(self) -> str:
        """The end of what the process and the packages in it have printed."""
        return self._log.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._place.cleanup()


Kind = tuple[Path, Path]
"""What a host runs: a project and a driver."""
MOST_IDLE = 3
"""Hosts that wait for a run. Each takes 100 MB, and neighbours among the tests want the same."""
_idle: list[tuple[Kind, _Host]] = []
"""The one that waits longest comes first."""


def _host(kind: Kind) -> _Host:
    """One that waits, or a new one."""
    for place, (known, host) in enumerate(_idle):
        if known == kind:
            del _idle[place]
            return host
    return _Host(*kind)


def _keep(kind: Kind, host: _Host) -> None:
    _idle.append((kind, host))
    if len(_idle) > MOST_IDLE:
        _idle.pop(0)[1].stop()


@atexit.register
def _stop_idle() -> None:
    while _idle:
        _idle.pop()[1].stop()


class Driver:
    """``async with Driver(project, script, options) as driver`` runs ``drivers/<script>`` in a project's folder.

    A run has a process for itself, but not always a new one: earlier runs leave compiled code behind, and nothing else
    (``drivers/host.cjs``).
    """

    def __init__(self, folder: Path, script: str, options: dict[str, Any]) -> None:
        self._kind: Kind = (folder, HERE / "drivers" / script)
        self._options = json.dumps(options)
        self._is_clean = False

    async def __aenter__(self) -> Self:
        self._host = _host(self._kind)
        self._reader, self._writer = await asyncio.open_unix_connection(self._host.address)
        self._writer.write(self._options.encode() + b"\n")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rest(), PATIENCE_S)
        finally:
            self._writer.close()
            complaints = self._host.complaints() if error is not None else ""
            if self._is_clean and error is None:
                _keep(self._kind, self._host)
            else:
                self._host.stop()
        if error is not None and complaints:
            error.add_note(f"the driver said:\n{complaints}")

    async def _rest(self) -> None:
        """Give no more commands, and wait for the end."""
        with suppress(ConnectionError):
            self._writer.write_eof()
            while await self._reader_line():
                pass

    async def _reader_line(self) -> bytes:
        """The next line of the driver; none at its end."""
        line = await self._reader.readline()
        if line == AGAIN:
            self._is_clean = True
            return await self._reader.readline()
        return line

    async def tell(self, **command: Any) -> None:
        """Give a command."""
        self._writer.write(json.dumps(command).encode() + b"\n")
        await self._writer.drain()

    async def line(self) -> dict[str, Any] | None:
        """The next line; None at the end."""
        try:
            line = await asyncio.wait_for(self._reader_line(), PATIENCE_S)
        except ConnectionError:  # the process ended with commands unread
            line = b""
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
