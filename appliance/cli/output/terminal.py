"""What commands print: tables as wide as the terminal for people, JSON for programs."""

import os
import secrets
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
from appliance.printable import one_line, printable, printable_json

_ESC = f"<{secrets.token_hex(8)}>"
"""Stands for ESC in what this module styles, until it is printed. Nobody else can write it: each process draws its own.
"""


def echo(text: str = "", *, err: bool = False, nl: bool = True, overwrite: bool = False) -> None:
    """Print text, the only way in which commands do. Control characters are written out: much of what is printed is
    text of canisters and endpoints. With ``overwrite`` it begins at the left of the present line.
    """
    shown = printable(text).replace(_ESC, "\x1b")
    click.echo("\r" + shown if overwrite else shown, err=err, nl=nl)


def styled(text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    """The text in a style, for ``echo``."""
    return click.style(printable(text), fg=fg, bold=bold, dim=dim).replace("\x1b", _ESC)


def print_result(result: Any, lines: Iterable[str]) -> None:
    """Print a result as JSON with ``--json``, else these lines."""
    if wants_json():
        echo(json_text(result))
    else:
        for line in lines:
            echo(line)


def json_text(result: Any, *, compact: bool = False) -> str:
    """Return a model or plain values as JSON; ``compact`` is one line."""
    value = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
    return printable_json(orjson.dumps(value, default=str, option=0 if compact else orjson.OPT_INDENT_2).decode())


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
"""Colours of cells that consist of one of these words."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    If a table is too wide, columns with a ``min_width`` are truncated down to it, at the end or in the middle. If that
    is not enough, columns are dropped, the highest ``drop_priority`` first; those of priority 0 always stay.
    """

    title: str
    align: Literal["left", "right"] = "left"
    min_width: int | None = None
    cut: Literal["middle", "end"] = "end"
    drop_priority: int = 0


def terminal_width() -> int | None:
    """Return the width of the terminal or ``COLUMNS``; None if there is neither: then nothing is truncated."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, max_width: int | None) -> list[str]:
    """Return the lines of a table with a heading, at most ``max_width`` wide if the columns allow it."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    shown = _shown(columns, cells, max_width)
    widths = _widths([columns[at] for at in shown], [[row[at] for at in shown] for row in cells], max_width)
    lines = [_line([(columns[at], columns[at].title) for at in shown], widths, heading=True)]
    lines += [_line([(columns[at], row[at]) for at in shown], widths) for row in cells]
    return lines


def field_lines(pairs: Iterable[tuple[str, str]], *, max_width: int | None, indent: str = "") -> list[str]:
    """Return a line for each name and value, values aligned and wrapped to ``max_width``."""
    known = list(pairs)
    margin = max((len(name) for name, _ in known), default=0) + len(GAP)
    lines = []
    for name, value in known:
        first, *rest = wrapped(value, None if max_width is None else max_width - len(indent) - margin)
        lines.append(f"{indent}{name:<{margin}}{coloured(first)}".rstrip())
        lines += [f"{indent}{'':<{margin}}{line}" for line in rest]
    return lines


def wrapped(text: str, max_width: int | None) -> list[str]:
    """Split a text into lines of at most this many characters; at least one line. Long words are not broken."""
    if max_width is None:
        return text.splitlines() or [""]
    folds = [
        wrap(line, max(max_width, 20), break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    ]
    return [line for lines in folds for line in lines or [""]] or [""]


def truncated(text: str, max_width: int, cut: Literal["middle", "end"] = "end") -> str:
    """Return the text in at most this many characters, with an ellipsis in place of the rest."""
    if len(text) <= max_width:
        return text
    if cut == "end" or max_width < 5:
        return text[: max(max_width - 1, 0)] + "…"
    tail = (max_width - 1) // 3
    return f"{text[: max_width - 1 - tail]}…{text[-tail:]}"


def coloured(cell: str, padded: str | None = None) -> str:
    """Return the cell (or its padded form), coloured if its word has a colour."""
    colour = _COLOURS.get(cell)
    shown = cell if padded is None else padded
    return styled(shown, fg=colour) if colour else shown


def _shown(columns: Sequence[Column], cells: list[list[str]], max_width: int | None) -> list[int]:
    """Return the positions of the columns that fit."""
    shown = list(range(len(columns)))
    while max_width is not None:
        needed = sum(min(_natural(columns, cells, at), columns[at].min_width or 10**6) for at in shown)
        droppable = [at for at in shown if columns[at].drop_priority]
        if needed + len(GAP) * (len(shown) - 1) <= max_width or not droppable:
            break
        shown.remove(max(droppable, key=lambda at: columns[at].drop_priority))
    return shown


def _natural(columns: Sequence[Column], cells: list[list[str]], at: int) -> int:
    return max(len(columns[at].title), *(len(row[at]) for row in cells), 0)


def _widths(columns: Sequence[Column], cells: list[list[str]], max_width: int | None) -> list[int]:
    widths = [_natural(columns, cells, at) for at in range(len(columns))]
    if max_width is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - max_width
    while excess > 0:
        elastic = [
            at for at, column in enumerate(columns) if column.min_width is not None and widths[at] > column.min_width
        ]
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
    return styled(line, bold=True) if heading else line
