"""Links and pictures of the documentation lead to files that exist."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, TOP

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_leads_somewhere(page: Path) -> None:
    local = [link for link in LINK.findall(page.read_text()) if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_picture_is_shown() -> None:
    shown = {link for page in PAGES for link in LINK.findall(page.read_text())}
    names = {Path(link).name for link in shown}
    assert [picture.name for picture in (TOP / "docs" / "images").iterdir() if picture.name not in names] == []
