"""What tests need of the machine. Where it lacks that they are skipped, or fail: CI has all of it."""

import os
import shutil
from typing import Literal, Never

import pytest

Kind = Literal["programs", "interop", "browser", "deploy"]


def is_required(kind: Kind) -> bool:
    """Whether the environment variable ``ICWS_REQUIRE_KIND`` is 1, as in CI."""
    return os.environ.get(f"ICWS_REQUIRE_{kind.upper()}") == "1"


def lacks(problem: object, kind: Kind = "programs") -> Never:
    """Skip the test for something that is not here, or fail it where that has to be here."""
    if is_required(kind):
        pytest.fail(f"{problem} (ICWS_REQUIRE_{kind.upper()} is 1)")
    pytest.skip(str(problem))


def program(name: str, kind: Kind = "programs") -> str:
    """The path of a program, which the test needs."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or lacks(f"{name} is not installed", kind)
