"""The recording of the demo in README.md."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.recording import COLUMNS, FILE, LABEL, demo_lines, labels_of, render_recording

SVG = "{http://www.w3.org/2000/svg}"
WORDS = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)
LABELS = st.text("abc ", max_size=LABEL - 1).map(str.strip)


def texts_of(picture: str) -> list[tuple[str, str]]:
    groups = ElementTree.fromstring(picture).iter(f"{SVG}g")  # noqa: S314 - our own
    return [tuple("".join(text.itertext()) for text in group) for group in groups]  # type: ignore[misc]


@given(st.lists(st.tuples(LABELS, TEXTS), max_size=8))
def test_a_picture_has_every_word_of_the_lines(lines: list[tuple[str, str]]) -> None:
    rows = texts_of(render_recording([f"{label:<{LABEL}}{text}" for label, text in lines]))
    assert [label for label, _ in rows if label] == [label for label, _ in lines if label]
    assert " ".join(text for _, text in rows).split() == " ".join(text for _, text in lines).split()
    assert all(len(text) <= COLUMNS - LABEL for _, text in rows)


@pytest.mark.filterwarnings("default")  # of the process that runs the demo
def test_the_picture_in_the_readme_is_of_the_demo() -> None:
    """Its steps are those of today; addresses and principals are others each time."""
    assert [label for label, _ in texts_of(FILE.read_text()) if label] == labels_of(demo_lines())
