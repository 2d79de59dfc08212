import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.output.terminal import Column, echo, field_lines, styled, table, terminal_width, truncated, wrapped
from tests.cli.output.styles import unstyled

NAME = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
COLUMNS = [
    Column("NAME", min_width=7, cut="middle"),
    Column("STATE"),
    Column("COUNT", align="right", drop_priority=1),
    Column("PROBLEM", min_width=7, drop_priority=2),
]
ROWS = [[NAME, "ok", "12", ""], ["chat", "degraded", "7", "the endpoint does not answer"]]
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


def plain(lines: list[str]) -> list[str]:
    return [unstyled(line) for line in lines]


def test_everything_is_there_where_there_is_room():
    assert plain(table(COLUMNS, ROWS, max_width=None)) == [
        "NAME                         STATE     COUNT  PROBLEM",
        f"{NAME}  ok           12",
        "chat                         degraded      7  the endpoint does not answer",
    ]


def test_what_can_be_cut_is_cut_the_longest_first():
    lines = plain(table(COLUMNS, ROWS, max_width=50))
    assert max(map(len, lines)) == 50
    assert lines[1].startswith("bkyz2-fm")
    assert "…" in lines[1]
    assert lines[2].endswith("…")


def test_what_does_not_fit_at_all_is_left_out_by_rank():
    assert plain(table(COLUMNS, ROWS, max_width=26))[0].split() == ["NAME", "STATE", "COUNT"]
    assert plain(table(COLUMNS, ROWS, max_width=20))[0].split() == ["NAME", "STATE"]
    assert plain(table(COLUMNS, ROWS, max_width=3))[2].split() == ["chat", "degraded"], "priority 0: never dropped"


def test_words_have_colours_and_cells_are_as_wide_without_them():
    coloured = table(COLUMNS, ROWS, max_width=None)
    assert styled("ok      ", fg="green") in coloured[1]
    assert len(plain(coloured)[1]) == len(plain(table(COLUMNS, ROWS, max_width=None))[1])


def test_a_table_without_rows_has_its_heading():
    assert plain(table(COLUMNS, [], max_width=80)) == ["NAME  STATE  COUNT  PROBLEM"]


@given(rows=st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=5), max_width=st.none() | st.integers(1, 120))
def test_a_table_keeps_to_its_room_as_far_as_columns_allow(rows: list[tuple[str, ...]], max_width: int | None):
    columns = [Column(title, min_width=6, drop_priority=rank) for rank, title in enumerate(["A", "BB", "CCC", "DDDD"])]
    lines = plain(table(columns, rows, max_width=max_width))
    assert len(lines) == len(rows) + 1
    if max_width is not None and max_width >= 6:
        assert max(map(len, lines)) <= max_width
    if max_width is None:
        assert all(cell in line for line, row in zip(lines[1:], rows, strict=True) for cell in row)


@given(text=WORDS, max_width=st.integers(1, 60), cut=st.sampled_from(["middle", "end"]))
def test_a_text_is_shortened_to_its_room_and_keeps_its_ends(text: str, max_width: int, cut: str):
    short = truncated(text, max_width, cut)  # type: ignore[arg-type]
    assert len(short) == min(len(text), max_width)
    assert short == text if len(text) <= max_width else short.count("…") == 1
    if len(text) > max_width >= 8 and cut == "middle":
        assert (short[0], short[-1]) == (text[0], text[-1])


def test_values_stand_below_each_other_and_are_folded():
    lines = plain(
        field_lines([("a", "one two three four five six"), ("long", "x"), ("", "y")], max_width=26, indent=" ")
    )
    assert lines == [" a     one two three four", "       five six", " long  x", "       y"]


def test_folding_keeps_lines_and_long_words():
    assert wrapped("a b\n\nc", 20) == ["a b", "", "c"]
    assert wrapped("", 20) == [""]
    assert wrapped(f"of {NAME}-{NAME}", 20) == ["of", f"{NAME}-{NAME}"]
    assert wrapped("a " * 40, None) == ["a " * 40]


def test_the_width_is_known_in_a_terminal_or_where_somebody_says_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width() == 72


def test_foreign_text_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for line in table(COLUMNS, [("chat\x1b[2J", "ok\r\nbad", "\x07", "\u202e")], max_width=None):
        echo(line)
    for line in field_lines([("reason", "first\nsecond\u202e")], max_width=None):
        echo(line)
    echo(styled("\x1b[31mname", bold=True))
    shown = capsys.readouterr().out
    assert shown.count("\n") == 5, "the line of the table is one line, and the value of the field is two"
    assert not set(shown) & set("\x1b\r\x07\u202e")


def test_our_own_style_is_shown_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(click, "echo", lambda text, **_: shown.append(text))
    echo(styled("\x1b[31mname", bold=True))
    assert shown == [click.style(r"\x1b[31mname", bold=True)]


SOURCES = sorted((Path(__file__).parents[3] / "appliance" / "cli").rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_commands_print_here_only(source: Path) -> None:
    if source.name == "terminal.py":
        return
    lines = source.read_text().splitlines()
    direct = [line for line in lines if re.search(r"\b(click\.(echo|secho|style)|print|sys\.std\w+\.write)\(", line)]
    assert all("printable" in line or source.name == "loop.py" for line in direct), direct
