"""The files of a configuration: those that it names, and how one is written so that it is there whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.config.fields.effect import Restart
from appliance.config.fields.values import in_folder
from appliance.config.keys import Item, KeyPath, is_repeated, label_of, path_text
from appliance.config.problems import effect_of
from appliance.config.schema import Config, Section

TEMPORARY = ".tmp"
"""How the name of a file ends that is being written."""


@dataclass(frozen=True)
class Content:
    """What is in a file, by its SHA-256 in hexadecimal."""

    file: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.digest[:16]}…)"


def files_of(section: Section, above: KeyPath = ()) -> Iterator[tuple[KeyPath, Path]]:
    """The files that are read again by a reload, each with the key that names it."""
    for name, field in type(section).model_fields.items():
        value, path = getattr(section, name), (*above, name)
        if isinstance(value, Section):
            yield from files_of(value, path)
        elif is_repeated(value):
            for item in value:
                yield from files_of(item, (*path, Item(label_of(item))))
        elif isinstance(value, Path) and in_folder(field) and not isinstance(effect_of(field), Restart):
            yield path, value


def contents_of(config: Config) -> dict[str, Content]:
    """What is in each of these files, by the key that names it; those that cannot be read are left out."""
    contents: dict[str, Content] = {}
    for path, file in files_of(config):
        if (digest := digest_of(file)) is not None:
            contents[path_text(path)] = Content(file, digest)
    return contents


def digest_of(file: Path) -> str | None:
    """The SHA-256 of a file; None if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def write_whole(file: Path, data: bytes, *, mode: int) -> None:
    """Write a file so that after any crash it is there as it was or as it is to be, on the disk. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=TEMPORARY, dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """See that what was created, renamed or removed in a folder is so on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
