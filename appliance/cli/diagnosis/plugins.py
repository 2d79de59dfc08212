"""Checks of the plugins: whether each can be loaded."""

from collections.abc import AsyncIterator
from pathlib import Path

from appliance.cli.diagnosis.findings import Finding, fault, ok
from appliance.config.keys import Item, path_text
from appliance.config.schema import Config
from appliance.preparation.plugins import plugins


async def check_plugins(config: Config, folder: Path) -> AsyncIterator[Finding]:
    """Load each plugin in a process of its own. Relative paths in their settings count from ``folder``."""
    found = [finding async for finding in plugins(config.plugins, folder)]
    for plugin in config.plugins:
        key = path_text(("plugins", Item(plugin.label)))
        problems = [each for each in found if each.key == key or each.key.startswith(f"{key}.")]
        for each in problems:
            yield fault(plugin.label, f"{each.key}: {each.problem}", "`icws check` tries again once it is mended")
        if not problems:
            yield ok(plugin.label, f"{plugin.path or plugin.module} can be loaded")
