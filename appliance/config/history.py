"""The revisions of the configuration: the text of each, when and by whom it was applied, and its state.

Each has a file, so that a crash damages one at most. The file is written before the configuration is applied: after a
crash in between the next start finds it unfinished. Its mode is 0600 in a folder of mode 0700, since a
configuration may hold secrets of plugins. Without a folder the history is in memory.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from appliance.config.files import TEMPORARY, sync_folder, write_whole
from appliance.errors import RevisionUnknown

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
    """Revisions of the configuration, in memory and in a folder.

    ``complaints`` has a sentence for each file of the folder that cannot be used.
    """

    def __init__(self, folder: Path | None, *, keep: int) -> None:
        """Read the folder. Raises OSError if it cannot be created or read."""
        self.folder = folder
        self.keep = keep
        self.complaints: list[str] = []
        self._records: dict[int, Record] = {}
        self._last = 0
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        """Add a revision, and remove the oldest beyond ``keep``. Raises OSError."""
        record = Record(self._last + 1, text, state, at_ns, actor, trigger, file_hash)
        self._write(record)
        self._last = record.revision
        self._prune()
        return record

    def mark(self, revision: int, state: State, problem: str | None = None) -> Record:
        """Set the state of a revision. Raises OSError and RevisionUnknown."""
        record = replace(self[revision], state=state, problem=problem)
        self._write(record)
        return record

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

    def _write(self, record: Record) -> None:
        if self.folder is not None:
            data = json.dumps(_written(record), ensure_ascii=False, indent=1)
            write_whole(self.folder / f"{record.revision:06}.json", data.encode(), mode=0o600)
        self._records[record.revision] = record

    def _prune(self) -> None:
        """Remove the oldest: rejected ones first, and never the last good one or the newest."""
        good = self.good()
        stay = {self._last, *([good.revision] if good else [])}
        order = sorted(self._records.values(), key=lambda record: (record.state != "rejected", record.revision))
        surplus = [record.revision for record in order if record.revision not in stay]
        for revision in surplus[: max(0, len(self._records) - self.keep)]:
            if self.folder is not None:
                (self.folder / f"{revision:06}.json").unlink(missing_ok=True)
            del self._records[revision]

    def _read(self, folder: Path) -> None:
        for file in sorted(folder.iterdir()):
            if file.name.endswith(TEMPORARY):
                file.unlink(missing_ok=True)
            elif match := _NAME.fullmatch(file.name):
                self._last = max(self._last, int(match[1]))
                try:
                    self._records[int(match[1])] = _record(json.loads(file.read_bytes()), int(match[1]))
                except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
                    self.complaints.append(f"{file} is left out of the history because it is damaged: {error!r}")
        sync_folder(folder)


def _written(record: Record) -> dict[str, Any]:
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
