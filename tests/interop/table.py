"""The table of clients in README.md: what it holds, and how it is written and read.

``python -m tests.interop`` from the top folder runs every client and writes the table; ``test_table.py`` runs the same
and compares.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- interop: begin (made by make interop) -->\n\n"
END = "\n<!-- interop: end -->\n"
_WRAPPER = textwrap.TextWrapper(120, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)

INTRODUCTION = """\
Which clients work: each is run, unmodified, through this gateway against a canister on the local IC (`make interop`).
"Ordered" is 20 messages each way; a forged certificate is one of another root key.
"""


class Cell(NamedTuple):
    """A finding: a word or two, and what has to be said about it."""

    word: str
    notes: tuple[str, ...] = ()


Key = tuple[str, str, str]
"""Client, wire generation and column."""
Cells = Mapping[Key, Cell]


def render(cells: Cells) -> str:
    """The table and its notes, in the order of the cells."""
    columns = list(dict.fromkeys(column for _, _, column in cells))
    rows = list(dict.fromkeys((client, generation) for client, generation, _ in cells))
    notes = list(dict.fromkeys(note for cell in cells.values() for note in cell.notes))
    lines = [["client", "wire", *columns]]
    lines += [[*row, *(_marked(cells[*row, column], notes) for column in columns)] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    table = "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)
    return f"{INTRODUCTION}\n{table}" + "".join(_numbered(notes))


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
    lines = [[text.strip() for text in line.split("|")[1:-1]] for line in body.splitlines() if line.startswith("|")]
    notes = [" ".join(text.split()) for text in re.findall(r"^\d+\. (.*(?:\n   .*)*)", body, re.MULTILINE)]
    cells = {}
    for client, generation, *texts in islice(lines, 2, None):
        for column, text in zip(lines[0][2:], texts, strict=True):
            word, *numbers = re.split(r" \((\d+)\)", text)
            cells[client, generation, column] = Cell(word, tuple(notes[int(n) - 1] for n in numbers if n))
    return cells


def _marked(cell: Cell, notes: list[str]) -> str:
    return cell.word + "".join(f" ({notes.index(note) + 1})" for note in cell.notes)


def _numbered(notes: Iterable[str]) -> Iterator[str]:
    for number, note in enumerate(notes, 1):
        yield "\n" * (number == 1)
        yield f"{_WRAPPER.fill(f'{number}. {note}')}\n"


# --- README.md ------------------------------------------------------------------------------------------------------


def section_of(readme: str) -> str:
    """What stands between the markers. Raises ValueError where they are not."""
    return _split(readme)[1]


def with_section(readme: str, section: str) -> str:
    """The same text with another table. Raises ValueError where the markers are not."""
    before, _, after = _split(readme)
    return f"{before}{BEGIN}{section}{END}{after}"


def _split(readme: str) -> tuple[str, str, str]:
    before, begin, rest = readme.partition(BEGIN)
    section, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no {BEGIN.strip()} … {END.strip()}")
    return before, section, after
