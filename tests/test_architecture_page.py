"""Every path and every name on ``docs/architecture.md`` exists, so that the page cannot outlive a move or a rename."""

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

from appliance.config.problems import keys_of
from appliance.config.schema import Config

TOP = Path(__file__).resolve().parents[1]
PAGE = (TOP / "docs" / "architecture.md").read_text()
PATHS = sorted(set(re.findall(r"\b(?:appliance|docs|native|tests)/[\w/.-]*\w", PAGE)))
IN_CODE = set(re.findall(r"`([a-z_]\w*(?:\.\w+)+)`", PAGE))
CLASSES = set(re.findall(r"(?<![\w./])[a-z_]\w*(?:\.[a-z_]\w*)*\.[A-Z]\w+(?:\.\w+)*", PAGE))  # also in the picture
NAMES = sorted(IN_CODE | CLASSES)
MODULES = [
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((TOP / "appliance").rglob("*.py"))
    if path.name != "__main__.py"
]
KEYS = {".".join(key) for key in keys_of(Config)}


def meanings(name: str) -> list[str]:
    """The modules, or the objects in modules, that a name can mean: the page leaves out the packages around them."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):  # the longest module first: a package also has its modules as attributes
        module, inside = ".".join(parts[:count]), parts[count:]
        if found := [each for each in MODULES if f".{each}".endswith(f".{module}") and has(each, inside)]:
            return found
    return []


def has(module: str, inside: list[str]) -> bool:
    try:
        reduce(getattr, inside, import_module(module))
    except AttributeError:
        return False
    return True


def test_the_page_has_what_these_tests_check():
    assert len(PATHS) > 10
    assert len(CLASSES) > 30


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path):
    assert (TOP / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_means_one_thing(name):
    assert name in KEYS or (TOP / name).exists() or len(meanings(name)) == 1, meanings(name)
