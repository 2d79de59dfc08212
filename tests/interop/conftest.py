"""The projects of clients that nobody here wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import node
from tests.needs import lacks


@pytest.fixture(scope="session")
def project() -> Callable[[str], Path]:
    """The folder of a project by its name, with its packages. Where they cannot be had the test is skipped, or fails
    where the environment variable ICWS_REQUIRE_INTEROP is 1, as in CI."""

    def find(name: str) -> Path:
        try:
            return node.project(name)
        except node.Unavailable as missing:
            lacks(missing, "interop")

    return find
