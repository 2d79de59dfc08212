"""A plugin that writes who came, went, and changed something, one JSON object a line.

    plugins:
      - path: plugins/audit_log.py
        config: {file: data/audit.jsonl}

Every line has ``at`` (UTC) and ``kind``. There is a line for each event (``session.opened``, ``reload``, ``audit`` and
so on), ``connection.closed`` for each WebSocket, whether it became a session or not, and with ``messages: true``
``message`` for each call of a client: its method, size and request id, never its content. Addresses and principals are
personal data; keep the file accordingly.

The file is made with mode 0600 and only ever appended to. It may be moved away at any time, as logrotate does: the next
line goes to a new one.
"""

import errno
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from appliance.plugins import ClientMessage, Ending, File, Happening, Section, Who, hook


class Plugin:
    """Writes the lines. An error of the disk is one of the plugin, which the gateway counts."""

    class Settings(Section):
        """What is written, and where."""

        file: File
        """Appended to. Its folder is made if it does not exist."""
        kinds: Annotated[list[str], Field(default_factory=lambda: ["*"])]
        """Which lines to write, as patterns: ``session.*``."""
        messages: bool = False
        """A line for each message of a client, which is relayed when the line is written."""

    def __init__(self, settings: Settings) -> None:
        self._kinds = settings.kinds
        self._log = AppendOnly(settings.file)
        if not settings.messages:
            self.client_message = None  # type: ignore[method-assign, assignment]

    @hook
    def event(self, event: Happening) -> None:
        """Something happened. That a session closed is told by ``close``, and more of it."""
        if event.kind != "session.closed":
            self._write(event.kind, event.at_ns, event.facts)

    @hook
    def close(self, who: Who, ending: Ending) -> None:
        """A WebSocket is gone."""
        self._write("connection.closed", time.time_ns(), asdict(who) | asdict(ending))

    @hook
    def client_message(self, who: Who, message: ClientMessage) -> None:
        """A client has sent something."""
        told = {"method": message.method, "bytes": len(message.arg), "request_id": message.request_id}
        self._write("message", time.time_ns(), asdict(who) | told)

    @hook
    def stop(self) -> None:
        """No line comes any more."""
        self._log.close()

    def _write(self, kind: str, at_ns: int, facts: Mapping[str, object]) -> None:
        if any(fnmatchcase(kind, pattern) for pattern in self._kinds):
            at = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds")
            head = {"at": at, "kind": kind}
            self._log.write(json.dumps(head | dict(facts) | head, default=str, separators=(",", ":")))


class AppendOnly:
    """A file of lines, which is made with the first one, and anew when it was moved away or removed. Raises OSError
    where the disk does.
    """

    def __init__(self, path: Path) -> None:
        """Creates nothing, because `icws check` makes the plugin too. Raises OSError where a file cannot be made."""
        self._path = path
        self._descriptor: int | None = None
        self._is_torn = False
        _check_writable(path)

    def write(self, line: str) -> None:
        """Append a line. After one that was cut short by a full disk the next one begins anew."""
        if self._descriptor is None or not self._is_current(self._descriptor):
            if self._descriptor is None:  # only then: a folder that goes later, such as a disk, must not be made anew
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._open()
            self.close()
            self._descriptor, self._is_torn = fresh, False
        data = ("\n" if self._is_torn else "").encode() + line.encode() + b"\n"
        written = os.write(self._descriptor, data)
        if written < len(data):
            self._is_torn = True
            raise OSError(f"{self._path} took {written} of {len(data)} bytes; is the disk full?")
        self._is_torn = False

    def close(self) -> None:
        """Write no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def _check_writable(path: Path) -> None:
    """Raises OSError."""
    nearest = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if nearest != path and not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
    if not os.access(nearest, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
