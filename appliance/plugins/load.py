"""Loads a plugin from an entry of the configuration."""

import hashlib
import importlib
import importlib.metadata
import inspect
import itertools
import sys
import time
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType

import pluggy
import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.config.fields.units import WRITTEN
from appliance.config.files import with_absolute_paths
from appliance.config.keys import Item, path_text
from appliance.config.problems import problem_of
from appliance.config.schema import Plugin as Entry
from appliance.config.text.document import key_text
from appliance.errors import ConfigError, ConfigProblem
from appliance.plugins.guard import Guard
from appliance.plugins.specification import ADMISSIONS, DECISIONS, NOTIFICATIONS, PROJECT, Specification
from appliance.plugins.worker import Worker

_log = structlog.get_logger(__name__)

LOAD_S = 10.0
"""How long the code of a plugin may take to load."""
STOP_S = 2.0
"""How long a plugin may take to finish its waiting calls and to stop."""

_numbers = itertools.count(1)


class LoadedPlugin:
    """A loaded plugin: its hooks by name, each behind a guard. The caller of `load` must call `stop`."""

    def __init__(
        self,
        entry: Entry,
        digest: str | None,
        guards: dict[str, Guard],
        worker: Worker,
        stop: Callable[[], object],
    ) -> None:
        """``digest`` is that of the file that was run, None for an installed module."""
        self.entry = entry
        self.digest = digest
        self.guards = guards
        self._worker = worker
        self._stop = stop

    async def stop(self) -> None:
        """Finish the waiting calls, then end the thread. A plugin that hangs keeps its thread."""
        label = self.entry.label
        try:
            await self._worker.run(self._stop, STOP_S, anyway=True)
        except TimeoutError:
            _log.warning("a plugin does not stop", plugin=label, seconds=STOP_S)
        except Exception as error:  # it is removed anyway
            _log.warning("a plugin failed to stop", plugin=label, exc_info=error)
        finally:  # also where the stop is cancelled
            self._worker.end()


class _Unreadable(Exception):
    """The file of a plugin cannot be read."""


async def load(
    entry: Entry, *, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
) -> LoadedPlugin:
    """Run the code of a plugin, in the thread that will also run its hooks. Relative paths in its settings count from
    ``folder``, by default the working directory.

    Raises ConfigError, whose problems have keys and no places.
    """
    worker = Worker(entry.label, most=entry.queue, most_bytes=entry.queue_bytes)
    try:
        return await worker.run(partial(_build, entry, folder or Path.cwd(), worker, clock), LOAD_S)
    except BaseException as error:
        worker.end()
        if isinstance(error, TimeoutError):
            raise _error(entry, f"does not load within {LOAD_S:g} s") from None
        if isinstance(error, ConfigError) or not isinstance(error, Exception):
            raise
        if isinstance(error, _Unreadable):
            raise _error(entry, str(error), "path") from error
        raise _error(entry, f"{entry.path or entry.module}: {type(error).__name__}: {error}") from error


def _build(entry: Entry, folder: Path, worker: Worker, clock: Callable[[], float]) -> LoadedPlugin:
    try:
        found, digest = _run(entry.path) if entry.path else _installed(str(entry.module))
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}" if error.filename else str(entry.path)
        raise _error(entry, f"{place}: this is not Python: {error.msg}") from error
    plugin = _made(getattr(found, "Plugin", found), entry, folder)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Specification)
    try:
        manager.register(plugin, entry.label)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _error(entry, " ".join(str(error).split())) from None
    callers = {caller.name: caller for caller in manager.get_hookcallers(plugin) or ()}
    if not callers.keys() & {*DECISIONS, *NOTIFICATIONS}:
        raise _error(entry, f"has no hook; there are {', '.join((*DECISIONS, *NOTIFICATIONS))}")
    for name in callers:
        if inspect.iscoroutinefunction(getattr(plugin, name)):
            problem = f"{name} is a coroutine function; a hook is a plain one, which may block in its plugin's thread"
            raise _error(entry, problem)
    guards = {
        name: Guard(
            entry.label,
            name,
            caller,
            worker,
            timeout_s=entry.timeout,
            required=bool(getattr(plugin, "required", name in ADMISSIONS)),
            clock=clock,
        )
        for name, caller in callers.items()
        if name != "stop"
    }
    return LoadedPlugin(entry, digest, guards, worker, manager.hook.stop)


def _installed(name: str) -> tuple[object, None]:
    """The object of the entry point with this name, else the module."""
    for point in importlib.metadata.entry_points(group=f"{PROJECT}.plugins", name=name):
        return point.load(), None
    return importlib.import_module(name), None


def _run(path: Path) -> tuple[ModuleType, str]:
    """A module from a file. Not through importlib: its cache of bytecode would miss a second change within one
    second.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise _Unreadable(f"{path} cannot be read: {error.strerror}") from error
    module = ModuleType(f"{PROJECT}_plugin_{path.stem}_{next(_numbers)}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pydantic look there
    try:
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - this is what a plugin is
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module, hashlib.sha256(source).hexdigest()


def _made(found: object, entry: Entry, folder: Path) -> object:
    """An instance of the plugin if it is a class, else the plugin itself."""
    settings = getattr(found, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        if entry.config:
            raise _error(entry, "has no Settings, so it takes no configuration", "config")
        return found() if isinstance(found, type) else found
    try:
        validated = settings.model_validate(entry.config, context=WRITTEN)
    except ValidationError as errors:
        raise ConfigError([_problem(entry, error, settings) for error in errors.errors()]) from None
    return found(with_absolute_paths(validated, folder)) if isinstance(found, type) else found


def _problem(entry: Entry, error: ErrorDetails, settings: type[BaseModel]) -> ConfigProblem:
    problem = problem_of(error)
    if error["type"] == "extra_forbidden":
        close = get_close_matches(str(error["loc"][-1]), settings.model_fields, n=1)
        known = f"did you mean {close[0]!r}?" if close else f"known here are {', '.join(settings.model_fields)}"
        problem = f"unknown key; {known}"
    return _at(entry, problem, "config", *error["loc"])


def _error(entry: Entry, problem: str, *below: str) -> ConfigError:
    return ConfigError([_at(entry, problem, *below)])


def _at(entry: Entry, problem: str, *below: str | int) -> ConfigProblem:
    return ConfigProblem("", path_text(("plugins", Item(entry.label))) + key_text(("", *below)), problem)
