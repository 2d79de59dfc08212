"""A plugin that writes who came, went, and changed something, one JSON object a line.

    plugins:
      - path: plugins/audit_log.py
        config: {file: /var/log/icws/audit.jsonl}

Every line has ``at`` (UTC) and ``kind``. There is a line for each event (``session.opened``, ``reload``, ``audit`` and
so on), ``connection.closed`` for each WebSocket, whether it became a session or not, and with ``messages: true``
``message`` for each call of a client: its method, size and request id, never its content. Addresses and principals are
personal data; keep the file accordingly.

The file is made with mode 0600 and only ever appended to. It may be moved away at any time, as logrotate does: the next
line goes to a new one.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from appliance.plugins import ClientMessage, Ending, File, Happening, Section, Who, hook


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{path} is relative, and to what is not known here; write the whole path")
    return path


class Plugin:
    """Writes the lines. An error of the disk is one of the plugin, which the gateway counts."""

    class Settings(Section):
        """What is written, and where."""

        file: Annotated[File, AfterValidator(_absolute)]
        """Appended to."""
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
    """A file of lines, which is made anew when it was moved away or removed. Raises OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._open()
        self._is_torn = False

    def write(self, line: str) -> None:
        """Append a line. After one that was cut short by a full disk the next one begins anew."""
        if not self._is_current():
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor, self._is_torn = fresh, False
        data = ("\n" if self._is_torn else "").encode() + line.encode() + b"\n"
        written = os.write(self._descriptor, data)
        if written < len(data):
            self._is_torn = True
            raise OSError(f"{self._path} took {written} of {len(data)} bytes; is the disk full?")
        self._is_torn = False

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
