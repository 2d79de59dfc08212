"""The source of the configuration, and the choice of the revision that a start uses."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config.files import files_of
from appliance.config.history import Choice, History, Record, hash_of
from appliance.config.load import Loaded, load, read_text
from appliance.config.plan import diff
from appliance.config.schema import Config
from appliance.errors import ConfigError, ConfigProblem
from appliance.whole_files import write_whole

_DEFAULTS = "version: 1\n"
"""The text where there is no file."""


@dataclass(frozen=True)
class Source:
    """A file (None: defaults only) with the environment and the settings of the command line that go over it."""

    file: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where relative paths count from."""
        return self.file.absolute().parent if self.file is not None else Path.cwd()

    def files(self, config: Config) -> Iterator[Path]:
        """The file, and those that a configuration names: what a reload reads."""
        if self.file is not None:
            yield self.file
        yield from (file for _, file in files_of(config))

    def read(self) -> str:
        """The current text of the file. Raises ConfigError where it cannot be read."""
        return _DEFAULTS if self.file is None else read_text(self.file)

    def load(self, text: str | None = None, *, name: str | None = None) -> Loaded:
        """The configuration of the current file, or of a text instead of it, with `name` in places of problems. Raises
        ConfigError."""
        if text is None:
            text, name = self.read(), str(self.file or "defaults")
        return load(self.file, environment=self.environment, settings=self.settings, text=text, name=name or "text")

    def hash(self) -> str | None:
        """The hash of the current file; None where it cannot be read."""
        with contextlib.suppress(ConfigError):
            return hash_of(self.read())
        return None

    def save(self, text: str) -> None:
        """Replace the text of the file atomically, and keep its mode. Raises ConfigError and OSError."""
        if self.file is None:
            raise ConfigError([ConfigProblem("defaults", "", "there is no file to write to; start with one")])
        target = self.file.resolve()
        write_whole(target, text.encode(), mode=target.stat().st_mode & 0o777 if target.exists() else 0o600)


@dataclass(frozen=True)
class Start:
    """The configuration of a start. ``record`` is its revision, None for a new one.

    ``file_hash`` is that of the file as it was read, whether the start runs it or another revision.
    """

    source: Source
    loaded: Loaded
    history: History
    file_hash: str
    record: Record | None = None
    warnings: Sequence[str] = ()


def start(source: Source) -> Start:
    """Read the configuration and the history, and decide which is run: see `History.choose`.

    Raises ConfigError for a file that cannot be used, also where another would be run, and for a history that cannot be
    read.
    """
    of_file = source.load()
    history, file_hash = _history(of_file), hash_of(of_file.text)
    choice = history.choose(of_file.text)
    warnings = [*history.complaints, *filter(None, [choice.warning])]
    if choice.text == of_file.text:
        return Start(source, of_file, history, file_hash, choice.record, warnings)
    try:
        chosen = _load(source, choice)
        if not any(diff(of_file.config, chosen.config)):  # another text that says the same
            return Start(source, of_file, history, file_hash, None, history.complaints)
        return Start(source, chosen, history, file_hash, choice.record, warnings)
    except ConfigError as error:
        warnings.append(f"the file is used, because revision {choice.record and choice.record.revision}: {error}")
        return Start(source, of_file, history, file_hash, None, warnings)


def _history(loaded: Loaded) -> History:
    control, key = loaded.config.control, "control.history"
    try:
        return History(control.history, keep=control.keep)
    except OSError as error:
        problem = f"{control.history} cannot be used: {error.strerror}; null keeps the history in memory only"
        raise ConfigError([ConfigProblem(loaded.place_of(key), key, problem)]) from None


def _load(source: Source, choice: Choice) -> Loaded:
    return source.load(choice.text, name=f"revision {choice.record and choice.record.revision}")
