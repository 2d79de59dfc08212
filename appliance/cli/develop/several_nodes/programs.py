"""The programs of others that the demonstration runs, and each as a process."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from appliance.cluster.joining import missing_extra

_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Where packages put servers, and where the PATH of a user does not look."""
_PATIENCE_S = 10.0
"""Until a process that was asked to end is killed."""
_LAST_LINES = 15


def find_program(*names: str) -> str | None:
    """The path of the first of these programs that is installed."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def engine_program() -> str:
    """The server that nodes share. Raises ClickException with the names of packages where it is missing."""
    if (missing := missing_extra()) is not None:
        raise click.ClickException(missing)
    found = find_program("redis-server", "valkey-server")
    if found is None:
        raise click.ClickException(
            "nodes share a Redis or Valkey, and neither redis-server nor valkey-server is installed. "
            "Debian and Ubuntu: `apt install redis-server`; Fedora: `dnf install valkey`; macOS: `brew install redis`"
        )
    return found


class Program:
    """A process with its own group, so that Ctrl-C at the terminal is for us alone, who then ends it in order."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, pass_fds: Sequence[int] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start it. What it writes is appended to the log. Raises OSError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
                env=os.environ | (environment or {}),
            )

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def last_lines(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it where it does not."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, _PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
