import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.printable import one_line, printable, printable_json

HOSTILE = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b[2J": r"\x1b[2J",
    "good\rbad": r"good\rbad",
    "abc\u202egpj.exe": r"abc\u202egpj.exe",
    "\u2066x\u2069": r"\u2066x\u2069",
    "\x9b31m": r"\x9b31m",
    "\u2028": r"\u2028",
}
HARMLESS = ["", "plain", "é ß 漢字 😀", "\u0645\u06cc\u200c\u062e", "👩\u200d💻", "no\u00a0break"]
CONTROLS = "\x00\x07\x1b\r\n\t\x7f\x9b\u202e\u2066a "
ANY = st.text(st.characters(exclude_categories=[])) | st.text(st.sampled_from(CONTROLS))


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_a_terminal_acts_on_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == one_line(text) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == text


def test_lines_stay_lines_unless_one_is_wanted() -> None:
    assert printable("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb") == r"a\n\tb"


@given(ANY)
def test_nothing_is_left_and_once_is_enough(text: str) -> None:
    assert not set(one_line(text)) & {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u202e\u2066\u2028"}
    assert printable(printable(text)) == printable(text)
    assert one_line(printable(text)) == one_line(text)


@given(st.dictionaries(st.text(), st.text()))
def test_a_json_document_keeps_its_meaning(value: dict[str, str]) -> None:
    for document in (json.dumps(value, ensure_ascii=False), orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()):
        assert json.loads(printable_json(document)) == value
        assert not set(printable_json(document)) & {*map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066"}
