from pathlib import Path

import pytest

from appliance.config.describe import keys
from appliance.config.problems import keys_of
from appliance.config.schema import Config
from docs.generate import files


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_current(path: Path) -> None:
    assert path.read_text() == files()[path], "it is out of date: make docs"


def test_every_key_has_a_meaning() -> None:
    for key in keys():
        assert key.meaning.endswith("."), key.path
        if key.section:
            for inner in keys(key.section, key.path):
                assert inner.meaning.endswith("."), inner.path


def test_the_page_has_every_key() -> None:
    page = next(text for path, text in files().items() if path.name == "configuration.md")
    for path in keys_of(Config):
        assert f"`{path[-1]}`" in page or f"## {'.'.join(path)}" in page, path
