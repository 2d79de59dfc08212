"""What commands print: tables as wide as the terminal for people, JSON for programs."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

import click
import orjson
from pydantic import BaseModel

from appliance.cli.remote.api_options import wants_json


def print_result(answer: Any, lines: Iterable[str]) -> None:
    """Print an answer of the API as JSON if that is wanted, else these lines."""
    if wants_json():
        click.echo(json_text(answer))
    else:
        for line in lines:
            click.echo(line)


def json_text(answer: Any, *, compact: bool = False) -> str:
    """JSON of a model, or of plain values."""
    value = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    return orjson.dumps(value, default=str, option=0 if compact else orjson.OPT_INDENT_2).decode()


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
    """A column. Where there is not enough max_width it is cut down to ``least`` characters, if it has such, in the middle or
    at the end; and where that is not enough those with the highest ``rank`` are left out (never those of 0)."""

    title: str
    align: Literal["left", "right"] = "left"
    least: int | None = None
    cut: Literal["middle", "end"] = "end"
    rank: int = 0


def terminal_width() -> int | None:
    """Of the terminal; None where the output goes elsewhere and nobody has said how wide it is (``COLUMNS``)."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, max_width: int | None) -> list[str]:
    """The lines of a table with a heading. ``room`` is the width there is, None for any."""
    cells = [list(row) for row in rows]
    shown = _shown(columns, cells, max_width)
    widths = _widths([columns[at] for at in shown], [[row[at] for at in shown] for row in cells], max_width)
    lines = [_line([(columns[at], columns[at].title) for at in shown], widths, heading=True)]
    lines += [_line([(columns[at], row[at]) for at in shown], widths) for row in cells]
    return lines


def field_lines(pairs: Iterable[tuple[str, str]], *, max_width: int | None, indent: str = "") -> list[str]:
    """Names and values, the values below each other and wrapped where they are longer than the room."""
    known = list(pairs)
    margin = max((len(name) for name, _ in known), default=0) + len(GAP)
    lines = []
    for name, value in known:
        first, *rest = wrapped(value, None if max_width is None else max_width - len(indent) - margin)
        lines.append(f"{indent}{name:<{margin}}{coloured(first)}".rstrip())
        lines += [f"{indent}{'':<{margin}}{line}" for line in rest]
    return lines


def wrapped(text: str, max_width: int | None) -> list[str]:
    """Lines of at most this many characters; one at least."""
    if max_width is None:
        return text.splitlines() or [""]
    folds = [
        wrap(line, max(max_width, 20), break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    ]
    return [line for lines in folds for line in lines or [""]] or [""]


def truncated(text: str, max_width: int, cut: Literal["middle", "end"] = "end") -> str:
    """The text in so many characters, with an ellipsis for what is left out."""
    if len(text) <= max_width:
        return text
    if cut == "end" or max_width < 5:
        return text[: max(max_width - 1, 0)] + "…"
    tail = (max_width - 1) // 3
    return f"{text[: max_width - 1 - tail]}…{text[-tail:]}"


def coloured(cell: str, padded: str | None = None) -> str:
    """The cell, in its colour if its word has one."""
    colour = _COLOURS.get(cell)
    shown = cell if padded is None else padded
    return click.style(shown, fg=colour) if colour else shown


def _shown(columns: Sequence[Column], cells: list[list[str]], max_width: int | None) -> list[int]:
    """The positions of the columns that there is max_width for."""
    shown = list(range(len(columns)))
    while max_width is not None:
        least = sum(min(_natural(columns, cells, at), columns[at].least or 10**6) for at in shown)
        droppable = [at for at in shown if columns[at].rank]
        if least + len(GAP) * (len(shown) - 1) <= max_width or not droppable:
            break
        shown.remove(max(droppable, key=lambda at: columns[at].rank))
    return shown


def _natural(columns: Sequence[Column], cells: list[list[str]], at: int) -> int:
    return max(len(columns[at].title), *(len(row[at]) for row in cells), 0)


def _widths(columns: Sequence[Column], cells: list[list[str]], max_width: int | None) -> list[int]:
    widths = [_natural(columns, cells, at) for at in range(len(columns))]
    if max_width is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - max_width
    while excess > 0:
        elastic = [at for at, column in enumerate(columns) if column.least is not None and widths[at] > column.least]
        if not elastic:
            break
        widths[max(elastic, key=lambda at: widths[at])] -= 1
        excess -= 1
    return widths


def _line(cells: Sequence[tuple[Column, str]], widths: list[int], *, heading: bool = False) -> str:
    parts = []
    for (column, text), max_width in zip(cells, widths, strict=True):
        cell = truncated(text, max_width, column.cut)
        padded = cell.rjust(max_width) if column.align == "right" else cell.ljust(max_width)
        parts.append(padded if heading else coloured(cell, padded))
    line = GAP.join(parts).rstrip()
    return click.style(line, bold=True) if heading else line
