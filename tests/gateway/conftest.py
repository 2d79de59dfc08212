"""Tests with real sockets run on every event loop that the service may use."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.needs import program

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop

WITH_SOCKETS = {
    *("test_connection.py", "test_follow.py", "test_hooks.py", "test_limited.py", "test_listener.py"),
    *("test_localnet.py", "test_upgrade.py", "test_arrivals.py", "test_records.py"),
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops where there are sockets, asyncio's own elsewhere."""
    return LOOPS if item.path.name in WITH_SOCKETS else {"asyncio": LOOPS["asyncio"]}


def self_signed(folder: Path, *, days: int = 1) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", str(days), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return certificate, key


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def other_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Another one, with another end."""
    return self_signed(tmp_path_factory.mktemp("tls"), days=2)
