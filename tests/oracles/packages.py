"""Packages of the field that do the same work as our core: what they make of it must be what we do.

The extra `oracles`, which `make setup` installs, has them. Without them the tests are skipped.
"""

from types import ModuleType

import pytest


def package(name: str) -> ModuleType:
    """Import it, or skip the test and say how to get it."""
    module: ModuleType = pytest.importorskip(name, reason=f"{name} is missing; pip install '.[oracles]' installs it")
    return module
