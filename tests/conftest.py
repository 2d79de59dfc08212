"""What all tests share."""

from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from tests import vectors as shared_vectors

# How long an example takes says how busy the machine is, and nothing about the law.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def vectors() -> ModuleType:
    """The shared test vectors: ``vectors.load_json("bls/bls_minsig.json")``."""
    return shared_vectors
