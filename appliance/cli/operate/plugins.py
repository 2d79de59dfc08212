"""``icws plugins``: what is loaded, and how it does."""

from collections.abc import Iterator

from appliance.cli.output.formatting import number
from appliance.cli.output.printing import tell
from appliance.cli.output.table import Column, table, width
from appliance.cli.remote.api_options import client, remote_command
from appliance.control.client import path_to
from appliance.control.models import Plugin, Plugins

_COLUMNS = [
    Column("PLUGIN"),
    Column("STATE"),
    Column("CALLS", align="right"),
    Column("FAILED", align="right"),
    Column("SLOW", align="right"),
    Column("HOOKS", least=10, rank=1),
    Column("FROM", least=10, cut="middle", rank=2),
]


@remote_command
def plugins() -> None:
    """List the plugins in the order in which they are asked, with their hooks and what went wrong."""
    found = client().get(Plugins, path_to("plugins"))
    tell(found, _lines(found))


def _lines(found: Plugins) -> Iterator[str]:
    if not found.items:
        yield "no plugin is loaded"
        return
    yield from table(_COLUMNS, map(_row, found.items), room=width())
    for plugin in found.items:
        if plugin.last_error:
            yield f"{plugin.name}: {plugin.last_error}"


def _row(plugin: Plugin) -> list[str]:
    numbers = [number(count) for count in (plugin.calls, plugin.failures, plugin.slow)]
    return [plugin.name, plugin.state, *numbers, ", ".join(plugin.hooks), plugin.source]
