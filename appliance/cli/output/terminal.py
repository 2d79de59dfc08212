"""Tables in a terminal: as wide as it is, in full where the output is no terminal."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

import click

GAP = "  "
_COLOURS = {
    "ok": "green",
    "good": "green",
    "open": "green",
    "applied": "green",
    "degraded": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "candidate": "yellow",
    "shadow": "yellow",
    "warning": "yellow",
    "restart": "yellow",
    "failing": "red",
    "rejected": "red",
    "rolled back": "red",
    "fault": "red",
}
"""Words that are coloured wherever they are all of a cell."""


@dataclass(frozen=True)
class Column:
    """A column. Where there is not enough room it is cut down to ``least`` characters, if it has such, in the middle or
    at the end; and where that is not enough those with the highest ``rank`` are left out (never those of 0)."""

    title: str
    align: Literal["left", "right"] = "left"
    least: int | None = None
    cut: Literal["middle", "end"] = "end"
    rank: int = 0


def width() -> int | None:
    """Of the terminal; None where the output goes elsewhere and nobody has said how wide it is (``COLUMNS``)."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, room: int | None) -> list[str]:
    """The lines of a table with a heading. ``room`` is the width there is, None for any."""
    cells = [list(row) for row in rows]
    shown = _shown(columns, cells, room)
    widths = _widths([columns[at] for at in shown], [[row[at] for at in shown] for row in cells], room)
    lines = [_line([(columns[at], columns[at].title) for at in shown], widths, heading=True)]
    lines += [_line([(columns[at], row[at]) for at in shown], widths) for row in cells]
    return lines


def facts(pairs: Iterable[tuple[str, str]], *, room: int | None, indent: str = "") -> list[str]:
    """Names and values, the values below each other and folded where they are longer than the room."""
    known = list(pairs)
    margin = max((len(name) for name, _ in known), default=0) + len(GAP)
    lines = []
    for name, value in known:
        first, *rest = folded(value, None if room is None else room - len(indent) - margin)
        lines.append(f"{indent}{name:<{margin}}{coloured(first)}".rstrip())
        lines += [f"{indent}{'':<{margin}}{line}" for line in rest]
    return lines


def folded(text: str, room: int | None) -> list[str]:
    """Lines of at most this many characters; one at least."""
    if room is None:
        return text.splitlines() or [""]
    folds = [wrap(line, max(room, 20), break_long_words=False, break_on_hyphens=False) for line in text.splitlines()]
    return [line for lines in folds for line in lines or [""]] or [""]


def shortened(text: str, room: int, cut: Literal["middle", "end"] = "end") -> str:
    """The text in so many characters, with an ellipsis for what is left out."""
    if len(text) <= room:
        return text
    if cut == "end" or room < 5:
        return text[: max(room - 1, 0)] + "…"
    tail = (room - 1) // 3
    return f"{text[: room - 1 - tail]}…{text[-tail:]}"


def coloured(cell: str, padded: str | None = None) -> str:
    """The cell, in its colour if its word has one."""
    colour = _COLOURS.get(cell)
    shown = cell if padded is None else padded
    return click.style(shown, fg=colour) if colour else shown


def _shown(columns: Sequence[Column], cells: list[list[str]], room: int | None) -> list[int]:
    """The positions of the columns that there is room for."""
    shown = list(range(len(columns)))
    while room is not None:
        least = sum(min(_natural(columns, cells, at), columns[at].least or 10**6) for at in shown)
        droppable = [at for at in shown if columns[at].rank]
        if least + len(GAP) * (len(shown) - 1) <= room or not droppable:
            break
        shown.remove(max(droppable, key=lambda at: columns[at].rank))
    return shown


def _natural(columns: Sequence[Column], cells: list[list[str]], at: int) -> int:
    return max(len(columns[at].title), *(len(row[at]) for row in cells), 0)


def _widths(columns: Sequence[Column], cells: list[list[str]], room: int | None) -> list[int]:
    widths = [_natural(columns, cells, at) for at in range(len(columns))]
    if room is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while excess > 0:
        elastic = [at for at, column in enumerate(columns) if column.least is not None and widths[at] > column.least]
        if not elastic:
            break
        widths[max(elastic, key=lambda at: widths[at])] -= 1
        excess -= 1
    return widths


def _line(cells: Sequence[tuple[Column, str]], widths: list[int], *, heading: bool = False) -> str:
    parts = []
    for (column, text), room in zip(cells, widths, strict=True):
        cell = shortened(text, room, column.cut)
        padded = cell.rjust(room) if column.align == "right" else cell.ljust(room)
        parts.append(padded if heading else coloured(cell, padded))
    line = GAP.join(parts).rstrip()
    return click.style(line, bold=True) if heading else line
