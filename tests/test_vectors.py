"""Every test vector has its origin and licence in the table of ``tests/vectors/README.md``."""

import re
from fnmatch import fnmatchcase

from tests.vectors import ROOT

NO_VECTORS = {"README.md", "__init__.py"}


def patterns() -> set[str]:
    """The files of the table's first column. A range such as `01.cbor` to `06.cbor` counts as all of its kind."""
    found: set[str] = set()
    for row in re.findall(r"^\| (`[^|]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE):
        found |= {re.sub(r"\d\d\.cbor$", "*.cbor", name) for name in re.findall(r"`([^`]+)`", row)}
    return found


def test_every_file_is_in_the_table_and_every_row_has_a_file() -> None:
    files = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.*") if path.name not in NO_VECTORS}
    files = {name for name in files if "__pycache__" not in name}
    named = {
        pattern if "/" in pattern or pattern.endswith(".json") else f"certificates/{pattern}" for pattern in patterns()
    }
    assert [name for name in files if not any(fnmatchcase(name, pattern) for pattern in named)] == []
    assert [pattern for pattern in named if not any(fnmatchcase(name, pattern) for name in files)] == []
