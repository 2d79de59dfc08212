"""What changes from one configuration to another, for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from appliance.cli.output.formatting import ago, counted, time
from appliance.cli.output.terminal import coloured, styled, terminal_width, truncated, wrapped
from appliance.control.models import Applied, Change

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_LONGEST = 80
"""Characters shown of a text: root keys are longer, and their beginnings are alike."""
_MEANINGS = {
    "live": "at once",
    "new sessions": "for new sessions",
    "restart": "at the next start",
}


def change_lines(changes: Sequence[Change], *, max_width: int | None) -> Iterator[str]:
    """Return each changed key with its values, when it takes effect, and the sessions it affects; then a summary."""
    for change in changes:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        affected = f", affects {counted(change.sessions, 'session')}" if change.sessions else ""
        effect = _MEANINGS.get(change.effect, change.effect)
        head = f"{styled(sign, fg=_COLOURS[sign], bold=True)} {styled(change.key, bold=True)}"
        named = f" ({change.canister_name})" if change.canister_name else ""
        yield f"{head}{named}  {effect}{affected}"
        for line in _values(change, None if max_width is None else max_width - 4):
            yield f"    {line}"
    yield changes_summary(changes)


def changes_summary(changes: Sequence[Change]) -> str:
    """E.g. ``3 changes: 2 live, 1 restart``."""
    if not changes:
        return "no changes"
    effects = [change.effect for change in changes]
    parts = ", ".join(f"{effects.count(effect)} {effect}" for effect in _MEANINGS if effect in effects)
    return f"{counted(len(changes), 'change')}: {parts}"


def applied_lines(applied: Applied) -> Iterator[str]:
    """Return the lines about an applied configuration: changes, the active revision, and what remains to be done."""
    if applied.result == "unchanged":
        yield f"no changes, revision {applied.generation} stays active"
    else:
        if applied.changes:
            yield from change_lines(applied.changes, max_width=terminal_width())
        yield f"{coloured(applied.result)}: revision {applied.generation} is active"
    yield from pending_restart_lines(applied.pending_restart)
    yield from confirmation_lines(applied.confirm_by)
    if applied.not_kept:
        yield f"this revision is not kept on disk, and another start does not know it: {applied.not_kept}"
    for warning in applied.warnings:
        yield f"warning: {warning.place}: {f'{warning.key}: ' if warning.key else ''}{warning.problem}"
    if applied.differs_from_file:
        yield "the file differs from the active configuration: the next reload applies the file"


def pending_restart_lines(keys: Sequence[str]) -> Iterator[str]:
    """Return a line about keys that take effect at the next start."""
    if keys:
        yield f"pending until restart: {', '.join(keys)}"


def confirmation_lines(confirm_by: datetime | None) -> Iterator[str]:
    """Return a line about the rollback that follows without a confirmation."""
    if confirm_by is not None:
        yield f"`icws confirm` keeps it; otherwise it is rolled back {ago(confirm_by)} ({time(confirm_by)} UTC)"


def flow_style(value: Any) -> str:
    """Return a value on one line in YAML's flow style, without unset keys of sections."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Mapping():
            return (
                "{"
                + ", ".join(f"{key}: {flow_style(inner)}" for key, inner in value.items() if inner is not None)
                + "}"
            )
        case list():
            return "[" + ", ".join(flow_style(inner) for inner in value) + "]"
    return truncated(str(value), _LONGEST, "middle")


def _values(change: Change, max_width: int | None) -> list[str]:
    if change.old is None or change.new is None:
        return wrapped(flow_style(change.new if change.old is None else change.old), max_width)
    old, new = flow_style(change.old), flow_style(change.new)
    if max_width is None or len(old) + len(new) + 3 <= max_width:
        return [f"{old} → {new}"]
    return [*wrapped(old, max_width), *wrapped(f"→ {new}", max_width)]
