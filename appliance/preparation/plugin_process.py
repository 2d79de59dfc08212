"""The process in which ``plugins`` loads plugins: reads their entries from standard input, writes a line for each."""

import asyncio
import json
import os
import sys
from pathlib import Path

from appliance.config.fields.units import WRITTEN
from appliance.config.schema import Plugin
from appliance.errors import ConfigError
from appliance.plugins.load import load


def main() -> None:
    """Write a list of (place, key, problem) for each plugin, empty if it loads."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what plugins print must not get between the lines
    task = json.load(sys.stdin)
    for values in task["plugins"]:
        entry = Plugin.model_validate(values, context=WRITTEN)
        print(json.dumps(asyncio.run(_problems(entry, Path(task["folder"])))), file=output, flush=True)
    os._exit(0)  # a thread of a plugin that hangs must not keep the process


async def _problems(entry: Plugin, folder: Path) -> list[tuple[str, str, str]]:
    try:
        plugin = await load(entry, folder=folder)
    except ConfigError as error:
        return [(each.place, each.key, each.problem) for each in error.problems]
    await plugin.stop()
    return []
