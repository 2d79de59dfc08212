"""The revisions of the configuration: the text of each, when and by whom it was applied, and its state.

Each has a file, so that a crash damages one at most. The file is written before the configuration is applied: after a
crash in between the next start finds it unfinished. Its mode is 0600 in a folder of mode 0700, since a
configuration may hold secrets of plugins. Without a folder the history is in memory. A disk that is full, read-only or
does not answer keeps no revision and stops no change: such revisions are in memory, and are written with the next one
that can be.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from appliance.errors import RevisionUnknown
from appliance.private_files import make_private_folders
from appliance.whole_files import TEMPORARY, sync_folder, write_whole

State = Literal["candidate", "good", "rejected", "rolled back"]
"""Being applied or on trial; applied; refused before anything was changed; applied and rolled back."""

_NAME = re.compile(r"([0-9]{1,9})\.json")


@dataclass(frozen=True)
class Record:
    """One revision of the configuration. ``at_ns`` is nanoseconds since 1970, ``file_hash`` what was in
    ``gateway.yaml`` then (None: nothing that could be read) and ``problem`` why it is not good.
    """

    revision: int
    text: str
    state: State
    at_ns: int
    actor: str
    trigger: str
    file_hash: str | None = None
    problem: str | None = None

    @property
    def hash(self) -> str:
        """Of its text."""
        return hash_of(self.text)

    @property
    def was_given_up(self) -> bool:
        """Whether it was being applied when the process ended, or was rolled back. A start must not use it then."""
        return self.state in ("candidate", "rolled back")


@dataclass(frozen=True)
class Choice:
    """The text to run at a start. ``record`` is None for a text without a revision; ``warning`` is the reason where it
    is not the text of the file."""

    text: str
    record: Record | None = None
    warning: str | None = None


def hash_of(text: str) -> str:
    """The SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


class History:
    """Revisions of the configuration, in memory and in a folder, which `write` brings up to date.

    ``complaints`` has a sentence for each file of the folder that cannot be used. ``in_use`` are revisions that stay
    whatever their number: the one that runs, and the one that a trial returns to.
    """

    def __init__(self, folder: Path | None, *, keep: int) -> None:
        """Read the folder. Raises OSError if it cannot be created or read."""
        self.folder = folder
        self.keep = keep
        self.complaints: list[str] = []
        self.in_use: set[int] = set()
        self._unwritten: dict[int, str] = {}
        self._unremoved: set[int] = set()
        self._changing = threading.Lock()  # held for a moment only: `write`, in a thread, may hang for ever
        self._records: dict[int, Record] = {}
        self._last = 0
        if folder is not None:
            make_private_folders(folder)
            self._read(folder)

    def __iter__(self) -> Iterator[Record]:
        """The newest first."""
        return iter(sorted(self._records.values(), key=lambda record: -record.revision))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, revision: int) -> Record:
        """Raises RevisionUnknown."""
        if revision not in self._records:
            raise RevisionUnknown(revision)
        return self._records[revision]

    def good(self) -> Record | None:
        """The newest good one."""
        return next((record for record in self if record.state == "good"), None)

    def add(
        self, text: str, state: State, *, at_ns: int, actor: str, trigger: str, file_hash: str | None = None
    ) -> Record:
        """Add a revision, and remove the oldest beyond ``keep``; in memory, until `write`."""
        record = Record(self._last + 1, text, state, at_ns, actor, trigger, file_hash)
        self._last = record.revision
        self._put(record)
        self._prune()
        return record

    def mark(self, revision: int, state: State, problem: str | None = None) -> Record:
        """Set the state of a revision; in memory, until `write`. Raises RevisionUnknown."""
        record = replace(self[revision], state=state, problem=problem)
        self._put(record)
        return record

    def write(self) -> None:
        """Write what has changed since to the folder, and remove what was pruned. Raises nothing: see `not_kept`.

        Meant for a thread, one call at a time. What is added or marked meanwhile is written too.
        """
        tried: dict[int, Record] = {}
        if self.folder is None:
            return
        while (record := self._next(tried)) is not None:
            tried[record.revision] = record
            try:
                self._write_file(self.folder, record)
            except OSError as error:
                self._written(record, f"{error.filename or self.folder}: {error.strerror}")
            else:
                self._written(record, None)
        self._remove_files(self.folder)

    def not_kept(self, revision: int) -> str | None:
        """Why a revision, or its present state, is in memory only, as a sentence; None if it is on disk as it should
        be.
        """
        return self._unwritten.get(revision)

    def detach(self) -> None:
        """Keep what comes in memory only: another process writes the folder."""
        self.folder = None

    def choose(self, text: str) -> Choice:
        """Choose the text to run at a start, where ``text`` is that of the file.

        It is the file, unless that was rolled back or never finished, or another revision replaced it since and the
        file has not changed: then it is the last good revision. A crash must not start what failed before.
        """
        good, of_file = self.good(), next((record for record in self if record.hash == hash_of(text)), None)
        if good is None or good.text == text:
            return Choice(text, good)
        if of_file is not None and of_file.was_given_up:
            fate = "was rolled back" if of_file.state == "rolled back" else "was never finished"
            why = f"the file is revision {of_file.revision}, whose apply {fate}"
        elif good.file_hash == hash_of(text):
            why = f"revision {good.revision} of {good.actor} replaced the file"
        else:
            return Choice(text)
        return Choice(good.text, good, f"{why}: revision {good.revision} is used instead. A reload applies the file")

    def _put(self, record: Record) -> None:
        with self._changing:
            self._records[record.revision] = record
            if self.folder is not None:
                self._unwritten[record.revision] = f"{self._file(self.folder, record.revision)}: not written yet"

    def _next(self, tried: Mapping[int, Record]) -> Record | None:
        """The oldest record that is not on disk as it is now, and was not tried."""
        with self._changing:
            records = [self._records[revision] for revision in sorted(self._unwritten)]
        return next((record for record in records if tried.get(record.revision) is not record), None)

    def _written(self, record: Record, problem: str | None) -> None:
        with self._changing:
            if self._records.get(record.revision) is not record:
                return  # it was marked or pruned meanwhile
            if problem is None:
                del self._unwritten[record.revision]
            else:
                self._unwritten[record.revision] = problem

    @staticmethod
    def _file(folder: Path, revision: int) -> Path:
        return folder / f"{revision:06}.json"

    def _write_file(self, folder: Path, record: Record) -> None:
        data = json.dumps(_values(record), ensure_ascii=False, indent=1)
        write_whole(self._file(folder, record.revision), data.encode(), mode=0o600)

    def _remove_files(self, folder: Path) -> None:
        with self._changing:
            revisions = sorted(self._unremoved)
        for revision in revisions:
            with contextlib.suppress(OSError):  # a read-only disk: tried again with the next write or start
                self._file(folder, revision).unlink(missing_ok=True)
                with self._changing:
                    self._unremoved.discard(revision)

    def _prune(self) -> None:
        """Remove the oldest: rejected ones first, and never one in use, the last good one or the newest."""
        good = self.good()
        stay = {self._last, *self.in_use, *([good.revision] if good else [])}
        order = sorted(self._records.values(), key=lambda record: (record.state != "rejected", record.revision))
        surplus = [record.revision for record in order if record.revision not in stay]
        for revision in surplus[: max(0, len(self._records) - self.keep)]:
            with self._changing:
                self._unwritten.pop(revision, None)
                del self._records[revision]
                if self.folder is not None:
                    self._unremoved.add(revision)

    def _read(self, folder: Path) -> None:
        for file in sorted(folder.iterdir()):
            if file.name.endswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
            elif match := _NAME.fullmatch(file.name):
                self._last = max(self._last, int(match[1]))
                try:
                    self._records[int(match[1])] = _record(json.loads(file.read_bytes()), int(match[1]))
                except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
                    self.complaints.append(f"{file} is left out of the history because it is damaged: {error!r}")
        with contextlib.suppress(OSError):
            sync_folder(folder)


def _values(record: Record) -> dict[str, Any]:
    values = asdict(record)
    # Files of every release name the number "generation": an older or newer gateway must be able to read them.
    return {"generation": values.pop("revision"), **values, "hash": record.hash}


def _record(values: Any, revision: int) -> Record:
    """Raises ValueError, TypeError or KeyError for a file that this class did not write, or not completely."""
    if not isinstance(values, dict):
        raise ValueError("not what was written")
    expected = values.pop("hash")
    record = Record(revision=values.pop("generation"), **values)
    if record.hash != expected or record.revision != revision or record.state not in get_args(State):
        raise ValueError("not what was written")
    return record
