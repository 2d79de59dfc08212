"""The one preparation that a start, a reload, a plan and a check go through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from appliance.cluster.joining import missing_extra
from appliance.config.files import Content
from appliance.config.load import Loaded
from appliance.errors import CannotRunNow, ConfigError, ConfigProblem
from appliance.preparation import files
from appliance.preparation.addresses import Holds, addresses
from appliance.preparation.finding import Finding
from appliance.preparation.network import KEY as ROOT_KEY
from appliance.preparation.network import root_key
from appliance.preparation.plugins import plugins, to_load
from appliance.threads import FILE_TIMEOUT_S, FILES


async def prepare(
    new: Loaded,
    *,
    folder: Path,
    old: Loaded | None = None,
    holds: Holds = lambda _: False,
    needs_network: bool = True,
) -> None:
    """Examine all that a configuration needs, and create nothing.

    ``folder`` is that of the configuration file. With ``old``, the configuration that runs, what needs a restart is
    examined only where it differs, and plugins only where they are loaded anew. An address that ``holds`` is true for
    counts as free. Without ``needs_network`` a network that does not answer is no problem: a start waits for it.

    Raises ConfigError with every problem, or CannotRunNow where all of them may pass by themselves.
    """
    found = [
        finding
        async for finding in findings(new, folder=folder, old=old, holds=holds)
        if needs_network or not (finding.key == ROOT_KEY and finding.passes)
    ]
    problems = [ConfigProblem(each.place or new.place_of(each.key), each.key, each.problem) for each in found]
    if problems and all(each.passes for each in found):
        raise CannotRunNow(problems)
    if problems:
        raise ConfigError(problems)


async def findings(
    new: Loaded, *, folder: Path, old: Loaded | None = None, holds: Holds = lambda _: False
) -> AsyncIterator[Finding]:
    """All problems, in the order of the sections."""
    before, config = None if old is None else old.config, new.config
    for finding in await _of_files(new, old):
        yield finding
    held = [] if before is None else before.control.listen
    async for finding in addresses(config, holds, control=[each for each in config.control.listen if each not in held]):
        yield finding
    if before is None or before.network.root_key != config.network.root_key:
        async for finding in root_key(config):
            yield finding
    async for finding in plugins(to_load(new, old), folder):
        yield finding


async def _of_files(new: Loaded, old: Loaded | None) -> list[Finding]:
    # With a limit: a reload holds its lock meanwhile, and a trial that ends needs that to roll back.
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            return await FILES.run(_in_files, new, old)
    except TimeoutError:
        problem = f"a file that this names cannot be read within {FILE_TIMEOUT_S:g} s; does its file system answer?"
        return [Finding("", problem, passes=True)]


def _in_files(new: Loaded, old: Loaded | None) -> list[Finding]:
    before, config = None if old is None else old.config, new.config
    found = [*files.tls(config), *files.tokens(config)]
    if config.cluster is not None and config.cluster.url is not None and (missing := missing_extra()) is not None:
        found.append(Finding("cluster", missing))
    if old is None or _of_identity(old) != _of_identity(new):
        found += files.identity(config, may_create=old is None)
    if before is None or before.control != config.control:
        found += files.group(config)
    if before is None or before.gateway.journal != config.gateway.journal:
        found += files.journal(config)
    if before is None or before.control.history != config.control.history:
        found += files.history(config)
    return found


def _of_identity(loaded: Loaded) -> tuple[Path, Content | None]:
    """By which a reload sees that the key was changed. The content of a pipe, which can be read once, is none."""
    return loaded.config.gateway.identity, loaded.contents.get("gateway.identity")
