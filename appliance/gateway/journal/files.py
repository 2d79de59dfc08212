"""The files of journals: each process locks one, and takes over those that nobody holds."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import structlog

from appliance.errors import JournalUnusable
from appliance.gateway.journal.entry import Entry
from appliance.gateway.journal.store import Store
from appliance.private_files import make_private_folders

_log = structlog.get_logger(__name__)

MAX_PROCESSES = 64
"""Processes that may keep a journal beside each other under one name."""
_NOT_TAKEN_OVER = "the journal of an earlier process cannot be used: its clients stay in their canisters until it can"


class LockedStore:
    """The store of this process, locked, and what processes that ended have left.

    ``left_behind`` are clients whose canister has to be told that they left, the first to open first; ``openings`` are
    opening messages that must not be used again.

    The lock is that of a file beside the database: SQLite's own locks would be lost with any descriptor of it that this
    process closes. The kernel releases it however the process ends.
    """

    def __init__(self, file: Path, gateway: bytes, *, now_ns: int) -> None:
        """``file`` is the journal of the first process; others add a number. Raises JournalUnusable."""
        self._held = ExitStack()
        try:
            make_private_folders(file.parent)
            self._claim_first(file, gateway, now_ns)
            for other in _names(file):
                self._take_over(other, gateway, now_ns)
            self.openings = self.store.openings(now_ns)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise JournalUnusable(str(file), str(error)) from error

    def close(self) -> None:
        """Close the store and let go of the lock."""
        self._held.close()

    def _claim_first(self, file: Path, gateway: bytes, now_ns: int) -> None:
        """Lock and open the first journal that no process holds and this one may use. Raises OSError and sqlite3.Error,
        also where it may not use that of the first process: it would never report the clients in there.
        """
        for name in _names(file):
            try:
                if self._claim(name, gateway, now_ns):
                    return
            except PermissionError as error:
                if name == file:
                    raise
                _log.error(_NOT_TAKEN_OVER, file=str(name), problem=str(error))
        raise OSError(f"{MAX_PROCESSES} processes hold journals of this name")

    def _claim(self, name: Path, gateway: bytes, now_ns: int) -> bool:
        with ExitStack() as held:
            if (lock := _lock(name)) is None:
                return False
            held.callback(os.close, lock)
            self.store, self.left_behind = _open(name, gateway, now_ns)
            held.callback(self.store.close)
            self.file, self._held = name, held.pop_all()
            return True

    def _take_over(self, file: Path, gateway: bytes, now_ns: int) -> None:
        """Take over another journal if it exists and no process holds it. One that cannot be read is left where it is:
        it must not keep this process from having its own.
        """
        try:
            with ExitStack() as held:
                if not file.exists() or (lock := _lock(file)) is None:
                    return
                held.callback(os.close, lock)
                self._take_entries(file, gateway, now_ns)
        except (OSError, sqlite3.Error) as error:
            _log.error(_NOT_TAKEN_OVER, file=str(file), problem=str(error))

    def _take_entries(self, file: Path, gateway: bytes, now_ns: int) -> None:
        other, entries = _open(file, gateway, now_ns)
        with closing(other):
            self.store.write([*entries, *other.openings(now_ns)], now_ns=now_ns)
        self.left_behind += entries
        _log.info("took over the journal of an earlier process", file=str(file), clients=len(entries))
        # Only now, when its entries are on the disk here: a crash in between leaves them twice, which is harmless.
        _remove(file)


def _names(file: Path) -> Iterator[Path]:
    yield file
    for number in range(1, MAX_PROCESSES):
        yield file.with_name(f"{file.name}.{number}")


def _lock(file: Path) -> int | None:
    """The descriptor of the lock of a journal; None if a process has it, this one included. Raises OSError."""
    descriptor = os.open(file.with_name(f"{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(file: Path, gateway: bytes, now_ns: int) -> tuple[Store, list[Entry]]:
    """The store of a file, and the clients that its last process has left behind. A file that is damaged is moved
    aside, and so is one of another gateway: neither helps anybody.

    Raises OSError and sqlite3.Error.
    """
    try:
        return _open_own(file, gateway, now_ns)
    except sqlite3.OperationalError:
        raise  # a disk that is full or cannot be written: a new file would fare no better
    except sqlite3.DatabaseError as error:
        problem = str(error)
    aside = file.with_name(f"{file.name}.unusable")
    _log.error("a journal cannot be used and is moved aside", file=str(file), to=str(aside), problem=problem)
    file.replace(aside)
    _remove(file)
    return _open_own(file, gateway, now_ns)


def _open_own(file: Path, gateway: bytes, now_ns: int) -> tuple[Store, list[Entry]]:
    """Raises OSError and sqlite3.Error, DatabaseError for the journal of another gateway."""
    with ExitStack() as opened:
        store = opened.enter_context(closing(Store(file)))
        before, entries = store.gateway, store.leave_behind(now_ns)
        if before not in (None, gateway) and entries:
            raise sqlite3.DatabaseError("it is the journal of another identity, which alone may make its close calls")
        store.claim(gateway)
        opened.pop_all()
        return store, entries


def _remove(file: Path) -> None:
    for part in ("", "-wal", "-shm"):
        file.with_name(file.name + part).unlink(missing_ok=True)
