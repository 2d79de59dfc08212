"""The audit log: every attempt to change something, in memory and as lines of JSON in a file."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from appliance.control.http.encoding import to_json
from appliance.control.models import AuditEntry
from appliance.private_files import make_private_folders
from appliance.threads import FILE_TIMEOUT_S, Threads

_log = structlog.get_logger(__name__)

MAX_RECENT = 1000
"""Entries kept in memory, for the API."""
MAX_BYTES = 16 * 1024**2
"""Size at which the file is rotated; one older file is kept beside it."""


class Audit:
    """The audit log. With ``path`` None it is in memory only; ``on_entry`` is called with each entry."""

    def __init__(
        self,
        path: Path | None,
        *,
        on_entry: Callable[[AuditEntry], None] = lambda _: None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path = path
        self.last_error: str | None = None
        self._on_entry = on_entry
        self._max_bytes = max_bytes
        self._recent: deque[AuditEntry] = deque(maxlen=MAX_RECENT)
        self._thread = Threads("audit log", 1)  # one, for the order of the lines

    def recent(self, limit: int = MAX_RECENT) -> list[AuditEntry]:
        """The newest first."""
        return [entry for _, entry in zip(range(limit), reversed(self._recent), strict=False)]

    async def record(
        self,
        action: str,
        *,
        actor: str,
        role: Any,
        address: str,
        status: int,
        target: str | None = None,
        problem: str | None = None,
        before: Any = None,
        after: Any = None,
    ) -> AuditEntry:
        """Add an entry. A file that is not writable is logged and shown in ``last_error``, and not raised: the action
        that the entry describes has already happened.
        """
        entry = AuditEntry(
            at=datetime.now(UTC),
            actor=actor,
            role=role,
            address=address,
            action=action,
            target=target,
            status=status,
            problem=problem,
            before=before,
            after=after,
        )
        self._recent.append(entry)
        self._on_entry(entry)
        if self.path is not None:
            await self._write(self.path, to_json(entry.model_dump()) + b"\n")
        return entry

    async def _write(self, path: Path, line: bytes) -> None:
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._append, path, line)
        await asyncio.wait({writing}, timeout=FILE_TIMEOUT_S)
        if not writing.done():  # it is written when the disk answers, before every later line
            self.last_error = f"{path}: not written within {FILE_TIMEOUT_S:g} s"
            _log.error("the audit log cannot be written", file=str(path), problem=self.last_error)

    def _append(self, path: Path, line: bytes) -> None:
        try:
            make_private_folders(path.parent)
            _rotate(path, self._max_bytes)
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, line if _ends_well(handle) else b"\n" + line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            self.last_error = f"{path}: {error.strerror}"
            _log.error("the audit log cannot be written", file=str(path), problem=error.strerror)
        else:
            self.last_error = None


def _rotate(path: Path, max_bytes: int) -> None:
    try:
        is_full = path.stat().st_size >= max_bytes
    except FileNotFoundError:
        return
    if is_full:
        path.replace(path.with_name(path.name + ".1"))


def _ends_well(handle: int) -> bool:
    """Whether the last line is complete; a crash in the middle of a write leaves half a line."""
    size = os.fstat(handle).st_size
    return not size or os.pread(handle, 1, size - 1) == b"\n"
