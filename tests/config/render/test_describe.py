from pathlib import Path

import pytest

from appliance.config.fields.effect import Effect
from appliance.config.problems import field_at, keys_of
from appliance.config.render.describe import keys
from appliance.config.schema import Config, Section
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


def test_every_key_has_one_reload_class_and_a_section_that_is_always_there_none() -> None:
    for path in keys_of(Config):
        field = field_at(path)
        assert field is not None
        effects = [fact for fact in field.metadata if isinstance(fact, Effect)]
        is_plain = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        assert len(effects) == (0 if is_plain else 1), path
