"""The table of clients in README.md holds what is true today, every cell of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.scenarios import EXAMINATIONS, Examination
from tests.interop.table import README, Cell, Key, read, render, section_of, with_section

WORDS = st.text("abc-", min_size=1)
NOTES = st.lists(WORDS, min_size=1).map(" ".join)
CELLS = st.builds(Cell, WORDS, st.lists(NOTES, unique=True, max_size=3).map(tuple))


@st.composite
def tables(draw: st.DrawFn) -> dict[Key, Cell]:
    rows = draw(st.lists(st.tuples(WORDS, st.sampled_from(["v0", "v1"])), min_size=1, unique=True))
    columns = draw(st.lists(WORDS, min_size=1, unique=True))
    return {(*row, column): draw(CELLS) for row in rows for column in columns}


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
    assert list(read(section_of(README.read_text()))) == [examination.key for examination in EXAMINATIONS]


@pytest.mark.parametrize("examination", EXAMINATIONS, ids=lambda e: f"{e.client}-{e.generation}-{e.column}")
async def test_a_cell_says_what_the_run_finds(examination: Examination, project: Callable[[str], Path]) -> None:
    if examination.project is not None:
        project(examination.project)
    said = read(section_of(README.read_text()))[examination.key]
    assert await examination.run() == said, "`make interop` writes what is true"
