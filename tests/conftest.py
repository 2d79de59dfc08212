"""What all tests share."""

from types import ModuleType

import pytest

from tests import vectors as shared_vectors


@pytest.fixture(scope="session")
def vectors() -> ModuleType:
    """The shared test vectors: ``vectors.load_json("bls/bls_minsig.json")``."""
    return shared_vectors
