"""The table of clients in README.md holds what is true today, every cell of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.scenarios import EXAMINATIONS, Examination
from tests.interop.table import README, REAL, Cell, Key, read, render, section_of, with_section

# Small: what could go wrong is between neighbours, and drawing large tables takes longer than all else here.
WORDS = st.text("abc-", min_size=1, max_size=4)
NOTES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
CELLS = st.builds(Cell, WORDS, st.lists(NOTES, unique=True, max_size=3).map(tuple))


@st.composite
def tables(draw: st.DrawFn) -> dict[Key, Cell]:
    cells: dict[Key, Cell] = {}
    for prefix in ("", REAL)[: draw(st.integers(1, 2))]:
        rows = draw(st.lists(st.tuples(WORDS, st.sampled_from(["v0", "v1"])), min_size=1, max_size=3, unique=True))
        columns = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
        cells |= {(*row, prefix + column): draw(CELLS) for row in rows for column in columns}
    return cells


@given(tables())
def test_what_is_written_can_be_read(cells: dict[Key, Cell]) -> None:
    assert read(render(cells)) == cells


@given(tables())
def test_nothing_else_in_the_readme_changes(cells: dict[Key, Cell]) -> None:
    old = README.read_text()
    new = with_section(old, render(cells))
    assert section_of(new) == render(cells)
    assert with_section(new, section_of(old)) == old


@pytest.mark.parametrize(
    "touch",
    [
        lambda section: section.replace("yes  ", "yes", 1),
        lambda section: section.replace("| yes", "", 1),
        lambda section: section.replace("(1)", "(99)"),
        lambda section: section.replace("1. ", "2. "),
        lambda section: section + "and more\n",
        lambda section: "",
    ],
)
def test_a_table_that_somebody_has_touched_is_refused(touch: Callable[[str], str]) -> None:
    section = section_of(README.read_text())
    with pytest.raises(ValueError, match="no table of ours"):
        read(touch(section))


def test_the_readme_has_all_cells_and_no_other() -> None:
    assert sorted(read(section_of(README.read_text()))) == sorted(examination.key for examination in EXAMINATIONS)


def test_the_tables_are_narrow_enough_to_be_read() -> None:
    rows = [line for line in section_of(README.read_text()).splitlines() if line.startswith("|")]
    assert len({line for line in rows if line.startswith("| client")}) <= 2
    assert max(map(len, rows)) <= 130


@pytest.mark.parametrize("examination", EXAMINATIONS, ids=lambda e: "-".join(e.key))
async def test_a_cell_says_what_the_run_finds(examination: Examination, project: Callable[[str], Path]) -> None:
    if examination.project is not None:
        project(examination.project)
    examination.need()
    said = read(section_of(README.read_text()))[examination.key]
    assert await examination.run() == said, "`make interop` writes what is true"
