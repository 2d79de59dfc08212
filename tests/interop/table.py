"""The two tables of clients in README.md: what they hold, and how they are written and read.

``python -m tests.interop`` from the top folder runs every client and writes the tables; ``test_table.py`` runs the same
and compares.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[2] / "README.md"
MARK = "interop"
"""Of the section in README.md; other pages have sections of other names."""
_WRAPPER = textwrap.TextWrapper(120, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)

REAL = "CDK: "
"""Before the names of the columns of the second table, in which the canister is on a CDK that others have written."""
INTRODUCTION = """\
Which clients work: each is run, unmodified, through this gateway against a canister on the local IC (`make interop`).
"Ordered" is 20 messages each way; a forgery is a certificate of another root key. First with the ping-pong canister in
Python:
"""
REAL_INTRODUCTION = """\
And with the same application on a real CDK, ic-websocket-cdk of the crate registry: 0.4.2 (`demo/canister`) speaks v2,
0.1.2 and 0.2.1 (`tests/interop/cdks`) speak v1:
"""


class Cell(NamedTuple):
    """A finding: a word or two, and what has to be said about it."""

    word: str
    notes: tuple[str, ...] = ()


Key = tuple[str, str, str]
"""Client, wire generation (with a CDK: ``v1, 0.1.2``) and column."""
Cells = Mapping[Key, Cell]


def render(cells: Cells) -> str:
    """The tables and their notes, in the order of the cells."""
    own = {key: cell for key, cell in cells.items() if not key[2].startswith(REAL)}
    real = {(*key[:2], key[2].removeprefix(REAL)): cell for key, cell in cells.items() if key[2].startswith(REAL)}
    notes = list(dict.fromkeys(note for cell in (*own.values(), *real.values()) for note in cell.notes))
    text = f"{INTRODUCTION}\n{table(own, notes, 'wire')}"
    if real:
        text += f"\n{REAL_INTRODUCTION}\n{table(real, notes, 'wire, CDK')}"
    return text + "".join(numbered(notes))


def table(cells: Cells, notes: list[str], second: str) -> str:
    """A table, whose second column has this title. Notes are numbered by their places in the list."""
    columns = list(dict.fromkeys(column for _, _, column in cells))
    rows = list(dict.fromkeys((client, generation) for client, generation, _ in cells))
    lines = [["client", second, *columns]]
    lines += [[*row, *(_marked(cells[*row, column], notes) for column in columns)] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)


def read(section: str) -> Cells:
    """What `render` has written. Raises ValueError for what it has not."""
    try:
        cells = _read(section.removeprefix(INTRODUCTION))
    except (ValueError, IndexError):
        cells = {}
    if render(cells) != section:
        raise ValueError("this is no table of ours")
    return cells


def _read(body: str) -> Cells:
    notes = [" ".join(text.split()) for text in re.findall(r"^\d+\. (.*(?:\n   .*)*)", body, re.MULTILINE)]
    own, _, real = body.partition(REAL_INTRODUCTION)
    return {**_read_table(own, notes), **_read_table(real, notes, REAL)}


def _read_table(text: str, notes: list[str], prefix: str = "") -> dict[Key, Cell]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    cells = {}
    for client, generation, *texts in islice(lines, 2, None):
        for column, cell in zip(lines[0][2:], texts, strict=True):
            word, *numbers = re.split(r" \((\d+)\)", cell)
            cells[client, generation, prefix + column] = Cell(word, tuple(notes[int(n) - 1] for n in numbers if n))
    return cells


def _marked(cell: Cell, notes: list[str]) -> str:
    return cell.word + "".join(f" ({notes.index(note) + 1})" for note in cell.notes)


def numbered(notes: Iterable[str]) -> Iterator[str]:
    """The lines of the notes below a table."""
    for number, note in enumerate(notes, 1):
        yield "\n" * (number == 1)
        yield f"{_WRAPPER.fill(f'{number}. {note}')}\n"


# --- pages ----------------------------------------------------------------------------------------------------------


def section_of(page: str, mark: str = MARK) -> str:
    """What stands between the markers. Raises ValueError where they are not."""
    return _split(page, mark)[1]


def with_section(page: str, section: str, mark: str = MARK) -> str:
    """The same text with another table. Raises ValueError where the markers are not."""
    before, _, after = _split(page, mark)
    begin, end = _markers(mark)
    return f"{before}{begin}{section}{end}{after}"


def _markers(mark: str) -> tuple[str, str]:
    return f"<!-- {mark}: begin (made by make interop) -->\n\n", f"\n<!-- {mark}: end -->\n"


def _split(page: str, mark: str) -> tuple[str, str, str]:
    first, last = _markers(mark)
    before, begin, rest = page.partition(first)
    section, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no {first.strip()} … {last.strip()}")
    return before, section, after
