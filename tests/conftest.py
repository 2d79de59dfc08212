"""What all tests share."""

import logging
import os
import signal
from collections.abc import Iterator
from types import ModuleType

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import vectors as vector_files

# How long an example takes says how busy the machine is, and nothing about the law.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI judges a change, not luck: the same examples each time. Whoever runs the tests at home searches on.
settings.register_profile("repeatable", settings.get_profile("untimed"), derandomize=True, database=None)
settings.load_profile(os.environ.get("ICWS_HYPOTHESIS", "untimed"))


def pytest_configure() -> None:
    """Shells start what runs in the background with interrupts ignored, and every process of a test would inherit that:
    the tests are those of a program in the foreground.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def vectors() -> ModuleType:
    """The test vectors: ``vectors.load_json("signatures/bls.json")``."""
    return vector_files


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A test that sets up logging, as a service does, does so for itself alone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
