"""Loads a Config from ``gateway.yaml``, the environment and the command line, with the origin of every value.

The command line wins over the environment, the environment over the file, the file over the defaults.

- A file is YAML (see ``document``). Relative paths in it, and those of the defaults, count from its folder.
- A variable ``ICWS_SECTION__KEY`` sets ``section.key``, e.g. ``ICWS_GATEWAY__LISTEN``; ``ICWS_CANISTERS`` sets a key of
  the top. Its value is read as YAML, so ``[a, b]`` is a list. Relative paths count from the working directory.
- The command line gives ``section.key=value``, read the same way.
- A variable or setting without a value counts as not given: programs pass undefined variables as empty ones. ``null``
  is null.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.config.changed_keys import Renamed, rename
from appliance.config.fields.units import WRITTEN
from appliance.config.fields.values import Misplaced, in_folder
from appliance.config.files import Content, contents_of, with_absolute_paths
from appliance.config.keys import labelled, path_text
from appliance.config.overrides import Guarded, unused_variables, variable_path, without_cluster
from appliance.config.problems import field_at, is_turned_off_by_null, problem_of, shown
from appliance.config.schema import Config, Section
from appliance.config.text.document import MAX_BYTES, Document, Path, decode, key_text, read_document, read_value
from appliance.errors import ConfigError, ConfigProblem
from appliance.private_files import read_bytes

DEFAULT = "default"

_PLACE = re.compile(r":(\d+):(\d+)$")


@dataclass(frozen=True)
class Loaded:
    """A configuration and, per key such as ``gateway.listen``, where its value is from: a place in the file, a
    variable, a setting of the command line, or ``default``. A list is one value in ``origins``; ``places`` knows what
    was written in it too, under keys such as ``canisters[bkyz2-…].name``. ``text`` is that of the file and
    ``contents`` are those of the files that the configuration names. ``warnings`` are sentences about what is taken and
    is hardly wanted.
    """

    config: Config
    origins: Mapping[str, str]
    places: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    contents: Mapping[str, Content] = field(default_factory=dict)
    warnings: Sequence[ConfigProblem] = ()

    def place_of(self, key: str) -> str:
        """Where a key, or else the nearest one above it, is written."""
        while key:
            if place := self.places.get(key):
                return place
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.places.get("", DEFAULT)


def load(
    file: FilePath | None,
    *,
    environment: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    text: str | None = None,
    name: str | None = None,
) -> Loaded:
    """Read the file (None: defaults only), then the variables of `environment`, then `settings` (``key=value``).

    `text` is read instead of the file, with `name` in places of problems. Raises ConfigError with every problem, in the
    order of the file, then variables and settings.
    """
    layers = _Layers()
    if text is None and file is not None:
        text = read_text(file)
    if text is not None:
        layers.lay(_read(text, name or str(file or "text")), ())
    guarded = Guarded.of(layers.value)
    for variable, value in sorted((environment or {}).items()):
        if (path := variable_path(variable)) and value.strip():
            layers.lay_text(value, path, f"variable {variable}")
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (equals and key.strip()):
            layers.problems.append(ConfigProblem(f"setting {setting}", "", "write section.key=value"))
        elif value.strip():
            layers.lay_text(value, tuple(key.strip().split(".")), f"setting {key.strip()}")
    folder = file.absolute().parent if file is not None else FilePath.cwd()  # as Source.folder
    config = with_absolute_paths(layers.validated(), folder)
    places = layers.places_by_key(config)
    loaded = Loaded(
        config,
        {key_text(path): place for path, place in layers.origins(config)},
        places,
        text or "",
        contents_of(config),
        [*layers.warnings, *unused_variables(environment or {})],
    )
    found = [*guarded.warnings(config, loaded.place_of), *without_cluster(config, loaded.place_of)]
    return replace(loaded, warnings=[*loaded.warnings, *found])


def read_text(file: FilePath) -> str:
    """The text of a file. Raises ConfigError where it cannot be read, is too long or is not UTF-8."""
    try:
        data = read_bytes(file, MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([ConfigProblem(str(file), "", f"cannot be read: {error.strerror}")]) from None
    return decode(data, str(file))


@dataclass
class _Layers:
    """The documents read so far, each over the one before."""

    value: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    key_places: dict[Path, str] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    problems: list[ConfigProblem] = field(default_factory=list)
    warnings: list[ConfigProblem] = field(default_factory=list)

    def lay_text(self, text: str, path: Path, name: str) -> None:
        """Override the value at a path with one from outside of the file."""
        try:
            document = read_value(text, name)
        except ConfigError as error:
            self.problems.extend(ConfigProblem(name, key_text(path), problem.problem) for problem in error.problems)
            self.broken.add(path)
            return
        here = FilePath.cwd()
        self.lay(
            Document(
                _with_folder(document.value, path, here),
                document.places,
                document.key_places,
                [ConfigProblem(name, key_text(path), problem.problem) for problem in document.problems],
                document.broken,
            ),
            path,
        )

    def lay(self, document: Document, path: Path) -> None:
        """Override the value at a path with a document."""
        self.problems.extend(document.problems)
        self.broken |= {path + part for part in document.broken}
        for empty in sorted(document.empty, key=str) if not path else ():
            self._refuse_empty(empty, document)
        if () in document.broken:
            return
        target: Any = self.value
        for length, part in enumerate(path[:-1], 1):
            self.places.setdefault(path[:length], document.places[()])
            target = _section_of(target, part)
            if target is None:
                problem = f"cannot be set, {key_text(path[:length])} has no keys; set all of it"
                self.problems.append(ConfigProblem(document.places[()], key_text(path), problem))
                return
        self._forget(path)
        self.places |= {path + part: place for part, place in document.places.items()}
        self.key_places |= {path + part: place for part, place in document.key_places.items()}
        if path:
            target[path[-1]] = document.value
        elif isinstance(document.value, dict):
            self.value = document.value
        for renamed in rename(self.value):
            self._renamed(renamed, is_twice=not path and renamed.new in document.places)

    def _refuse_empty(self, path: Path, document: Document) -> None:
        """Add a problem for a key without a value, where null would mean something else than the default."""
        found = field_at(path)
        if found is not None and isinstance(path[-1], str) and is_turned_off_by_null(found):
            problem = "has no value; write null to turn it off, or remove the line to take the default"
            self.problems.append(ConfigProblem(document.places[path], key_text(path), problem))
            self.broken.add(path)

    def _renamed(self, renamed: Renamed, *, is_twice: bool) -> None:
        """Move the places of a key that has another name now, and warn about it; `is_twice` if the new one is there
        too."""
        old, new = renamed.old, renamed.new
        place = self.key_places.get(old) or self.places[old]
        if is_twice and old != new:
            problem = f"is now {key_text(new)}, which is there too; remove the old one"
            self.problems.append(ConfigProblem(place, key_text(old), problem))
            return
        self.warnings.append(ConfigProblem(place, key_text(old), renamed.change.advice))
        for places in (self.places, self.key_places):
            for path in [path for path in places if path[: len(old)] == old]:
                places[new + path[len(old) :]] = places.pop(path)

    def validated(self) -> Config:
        """Raises ConfigError."""
        config = None
        try:
            config = Config.model_validate(self.value, context=WRITTEN)
        except ValidationError as errors:
            self.problems.extend(self._problem(error) for error in errors.errors() if not self._is_reported(error))
        if config is None or self.problems:
            raise ConfigError(sorted(self.problems, key=_in_order))
        return config

    def origins(self, section: Section, above: Path = ()) -> Iterator[tuple[Path, str]]:
        """Every key below a section with its origin."""
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, Section):
                yield from self.origins(value, (*above, name))
            else:
                yield (*above, name), self.places.get((*above, name), DEFAULT)

    def places_by_key(self, config: Config) -> dict[str, str]:
        """Where keys are written; the parts of a value that is no section count as the value."""
        places: dict[str, str] = {}
        for path, place in self.places.items():
            places.setdefault(path_text(labelled(config, path)), place)
        return places

    def _forget(self, path: Path) -> None:
        for places in (self.places, self.key_places):
            for old in [old for old in places if old[: len(path)] == path]:
                del places[old]

    def _is_reported(self, error: ErrorDetails) -> bool:
        return any(error["loc"][: len(path)] == path for path in self.broken)

    def _problem(self, error: ErrorDetails) -> ConfigProblem:
        cause = error.get("ctx", {}).get("error")
        path = error["loc"] + (cause.at if isinstance(cause, Misplaced) else ())
        # The place of an unknown key is that of the key, the place of a wrong value is that of the value.
        first, second = (self.places, self.key_places)
        if error["type"] == "extra_forbidden":
            first, second = second, first
        for length in range(len(path), -1, -1):
            if place := first.get(path[:length]) or second.get(path[:length]):
                return ConfigProblem(place, key_text(path), problem_of(error))
        return ConfigProblem(DEFAULT, key_text(path), problem_of(error))


def _read(text: str, name: str) -> Document:
    document = read_document(text, name)
    if not isinstance(document.value, dict):
        problem = f"must have keys such as gateway:, not {shown(document.value)}"
        raise ConfigError([*document.problems, ConfigProblem(document.places[()], "", problem)])
    return document


def _section_of(target: dict[str, Any], key: str | int) -> dict[str, Any] | None:
    """The section at a key, created if it is missing."""
    if target.get(str(key)) is None:
        target[str(key)] = {}
    section = target[str(key)]
    return section if isinstance(section, dict) else None


def _in_order(problem: ConfigProblem) -> tuple[int, int, int]:
    match = _PLACE.search(problem.place)
    return (0, int(match[1]), int(match[2])) if match else (1, int(problem.place.startswith("setting")), 0)


def _with_folder(value: object, path: Path, folder: FilePath) -> object:
    """A value with absolute paths."""
    if isinstance(value, dict):
        return {key: _with_folder(inner, (*path, key), folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_folder(inner, (*path, position), folder) for position, inner in enumerate(value)]
    mark = in_folder(field_at(path))
    return mark.absolute(value, folder) if mark else value
