"""What changes from one configuration to another, for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from appliance.cli.output.formatting import ago, counted, time
from appliance.cli.output.table import folded, shortened
from appliance.control.models import Change

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_LONGEST = 80
"""Characters of a text that are shown: keys of networks are longer, and look alike."""
_MEANINGS = {
    "live": "at once",
    "new sessions": "for sessions that begin after it",
    "restart": "at the next start",
}


def change_lines(changes: Sequence[Change], *, room: int | None) -> Iterator[str]:
    """Each changed key with its values, when it takes effect and how many sessions it touches; then the sum."""
    for change in changes:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        touched = f", touches {counted(change.sessions, 'session')}" if change.sessions else ""
        effect = _MEANINGS.get(change.effect, change.effect)
        head = f"{click.style(sign, fg=_COLOURS[sign], bold=True)} {click.style(change.key, bold=True)}"
        yield f"{head}  {effect}{touched}"
        for line in _values(change, None if room is None else room - 4):
            yield f"    {line}"
    yield sum_of(changes)


def sum_of(changes: Sequence[Change]) -> str:
    """E.g. ``3 changes: 2 live, 1 restart``."""
    if not changes:
        return "nothing changes"
    effects = [change.effect for change in changes]
    parts = ", ".join(f"{effects.count(effect)} {effect}" for effect in _MEANINGS if effect in effects)
    return f"{counted(len(changes), 'change')}: {parts}"


def waiting_lines(keys: Sequence[str]) -> Iterator[str]:
    """What is applied and not in effect."""
    if keys:
        yield f"waits for a restart: {', '.join(keys)}"


def confirm_line(confirm_by: datetime | None) -> Iterator[str]:
    """What happens unless somebody confirms."""
    if confirm_by is not None:
        yield f"`icws confirm` keeps it; otherwise it is rolled back {ago(confirm_by)} ({time(confirm_by)} UTC)"


def flow(value: Any) -> str:
    """A value on one line, as YAML has it; what is not set is left out of a section."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items() if inner is not None) + "}"
        case list():
            return "[" + ", ".join(flow(inner) for inner in value) + "]"
    return shortened(str(value), _LONGEST, "middle")


def _values(change: Change, room: int | None) -> list[str]:
    if change.old is None or change.new is None:
        return folded(flow(change.new if change.old is None else change.old), room)
    old, new = flow(change.old), flow(change.new)
    if room is None or len(old) + len(new) + 3 <= room:
        return [f"{old} → {new}"]
    return [*folded(old, room), *folded(f"→ {new}", room)]
