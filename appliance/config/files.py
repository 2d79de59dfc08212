"""The files that a configuration names."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance.config.fields.effect import Effect, Live, Restart
from appliance.config.fields.values import in_folder
from appliance.config.keys import Item, KeyPath, is_repeated, label_of, path_text
from appliance.config.problems import effect_of
from appliance.config.schema import Config, Section
from appliance.private_files import file_of

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Content:
    """The content of a file, as its SHA-256 in hexadecimal."""

    file: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.digest[:16]}…)"


def files_of(section: Section, above: KeyPath = ()) -> Iterator[tuple[KeyPath, Path]]:
    """The files that a reload reads again, each with the key that names it."""
    for name, field in type(section).model_fields.items():
        value, path = getattr(section, name), (*above, name)
        if isinstance(value, Section):
            yield from files_of(value, path)
        elif is_repeated(value):
            for item in value:
                yield from files_of(item, (*path, Item(label_of(item))))
        elif isinstance(value, Path) and (file := _file_of(value, field)) is not None:
            yield path, file


def _file_of(value: Path, field: FieldInfo) -> Path | None:
    if (mark := in_folder(field)) is None or not _is_read_by_reload(effect_of(field)):
        return None
    return file_of(value) if mark.schemes else value


def _is_read_by_reload(effect: Effect | None) -> bool:
    return not isinstance(effect, Restart) and not (isinstance(effect, Live) and effect.is_always_read)


def contents_of(config: Config) -> dict[str, Content]:
    """The contents of these files, by the key that names each; unreadable files are left out."""
    contents: dict[str, Content] = {}
    for path, file in files_of(config):
        if (digest := digest_of(file)) is not None:
            contents[path_text(path)] = Content(file, digest)
    return contents


def digest_of(file: Path) -> str | None:
    """The SHA-256 of a file; None if it cannot be read, or is a pipe or a device, which reading would change."""
    try:
        if not file.is_file():
            return None
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def with_absolute_paths(section: ModelT, folder: Path) -> ModelT:
    """The same section, with relative paths in it and below it counted from a folder."""
    changed: dict[str, object] = {}
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            changed[name] = with_absolute_paths(value, folder)
        elif isinstance(value, list) and any(isinstance(part, BaseModel) for part in value):
            changed[name] = [with_absolute_paths(part, folder) for part in value]
        elif mark := in_folder(info):
            changed[name] = mark.absolute(value, folder)
    return section.model_copy(update=changed)
