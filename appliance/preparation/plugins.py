"""Loads plugins in a process of its own, with a time limit: their code may hang, or end the process that runs it."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from appliance.config.keys import Item, path_text
from appliance.config.load import Loaded
from appliance.config.schema import Plugin
from appliance.config.text.written import written
from appliance.plugins.load import LOAD_S, STOP_S
from appliance.preparation.finding import Finding

_log = structlog.get_logger(__name__)

START_S = 30.0
"""For the process to start, on a machine that is busy."""
_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from appliance.preparation.plugin_process import main
main()
"""


def to_load(new: Loaded, old: Loaded | None) -> list[Plugin]:
    """The plugins that a change from ``old`` loads: those that are new, or whose entry or file has changed."""
    before = {} if old is None else {plugin.label: plugin for plugin in old.config.plugins}
    return [
        plugin
        for plugin in new.config.plugins
        if before.get(plugin.label) != plugin or _content(new, plugin) != (old and _content(old, plugin))
    ]


def _content(loaded: Loaded, plugin: Plugin) -> object:
    return loaded.contents.get(path_text(("plugins", Item(plugin.label), "path")))


async def plugins(entries: Sequence[Plugin], folder: Path) -> AsyncIterator[Finding]:
    """Whether each plugin can be loaded. Relative paths in their settings count from ``folder``."""
    examined = 0
    while examined < len(entries):
        before = examined
        async for found in _in_one_process(entries[examined:], folder):
            examined += 1
            for finding in found:
                yield finding
        if examined == before:
            return  # no process could be started
        # Otherwise a plugin has ended the process, or hangs: another process examines those behind it.


async def _in_one_process(entries: Sequence[Plugin], folder: Path) -> AsyncIterator[list[Finding]]:
    """The findings for one plugin after the other, until all are examined or one has ended the process."""
    try:
        async with _process() as process:
            _send(process, entries, folder)
            for number, entry in enumerate(entries):
                limit_s = LOAD_S + STOP_S + (START_S if not number else 0.0)
                line = await _line(process, limit_s)
                if line is None:
                    yield [_about(entry, f"does not load within {LOAD_S:g} s")]
                    return
                if not line:
                    yield [_about(entry, _ended(await process.wait()))]
                    return
                yield [Finding(key, problem, place=place) for place, key, problem in json.loads(line)]
    except PermissionError as error:  # a service may be forbidden to start programs; a start loads the plugins anyway
        _log.warning("plugins cannot be examined in a process of their own", cause=str(error))


@asynccontextmanager
async def _process() -> AsyncIterator[Process]:
    path = json.dumps(sys.path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, path, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=1024**2
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _send(process: Process, entries: Sequence[Plugin], folder: Path) -> None:
    if process.stdin is not None:
        process.stdin.write(
            json.dumps({"folder": str(folder), "plugins": [written(each) for each in entries]}).encode()
        )
        process.stdin.write_eof()


async def _line(process: Process, limit_s: float) -> bytes | None:
    """The next line of the output; empty at its end, None after the time limit."""
    if process.stdout is None:
        return b""
    try:
        return await asyncio.wait_for(process.stdout.readline(), limit_s)
    except TimeoutError:
        return None


def _about(entry: Plugin, problem: str) -> Finding:
    return Finding(path_text(("plugins", Item(entry.label))), f"{entry.path or entry.module}: {problem}")


def _ended(code: int) -> str:
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"its code ends the process that loads it ({how})"
