"""What type checkers make of programs that use the client."""

import re
from pathlib import Path

import pytest
from mypy import api

PROGRAMS = Path(__file__).with_name("typing")


@pytest.fixture(scope="module")
def found() -> dict[str, set[int]]:
    """The lines with faults of each program."""
    files = [str(PROGRAMS / name) for name in ("right.py", "wrong.py")]
    root = PROGRAMS.parents[2]
    arguments = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(root / ".mypy_cache")]
    out, errors, _ = api.run([*arguments, "--no-warn-unreachable", *files])
    assert not errors
    lines: dict[str, set[int]] = {"right.py": set(), "wrong.py": set()}
    for name, line in re.findall(r"(\w+\.py):(\d+): error", out):
        lines[name].add(int(line))
    return lines


def test_right_programs_type_check(found: dict[str, set[int]]) -> None:
    assert found["right.py"] == set()


def test_every_mistake_is_found_and_nothing_else(found: dict[str, set[int]]) -> None:
    lines = (PROGRAMS / "wrong.py").read_text().splitlines()
    assert found["wrong.py"] == {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
