"""The API is what its description says: schemathesis asks for whatever it allows, and for much that it does not."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.control.plane import SECRETS, running

SETTINGS = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10
"""For each operation, beside those that cover its parameters one by one."""
CACHE = SETTINGS.parents[2] / ".hypothesis"
"""Hypothesis keeps the ranges of Unicode here; to calculate them takes longer than all requests together."""
ADMIN = {"Authorization": f"Bearer {SECRETS['admin']}"}


class Running(threading.Thread):
    """A gateway in a loop of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.url = self.session = ""
        self.over = asyncio.Event()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            finally:
                self._ready.set()

    async def _serve(self) -> None:
        async with running(tcp=True) as plane, plane.connect():
            self.url, self.session = plane.control.url, next(iter(plane.gateway.connections)).id
            self._ready.set()
            await self.over.wait()

    def __enter__(self) -> "Running":
        self.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.over.set)
        self.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with Running() as found:
        yield found


def schemathesis(served: Running, folder: Path, *more: str) -> tuple[int, str]:
    """``folder`` is where it keeps what it found."""
    settings = folder / SETTINGS.name
    settings.write_text(f'parameters = {{"path.session" = "{served.session}"}}\n\n{SETTINGS.read_text()}')
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)]
    command += ["run", f"{served.url}/openapi.json"]
    command += ["--header", f"Authorization: {ADMIN['Authorization']}", "--no-color", "--seed", "1"]
    # One worker: Python 3.11 makes syntax trees in one thread at a time only.
    command += ["--workers", "1", "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing", *more]
    command += ["--generation-database", "none"]
    environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE)}
    ended = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    return ended.returncode, ended.stdout + ended.stderr


def described(url: str) -> dict[str, Any]:
    found = httpx.get(f"{url}/openapi.json", verify=False)  # noqa: S501 - there is no TLS
    operations: dict[str, Any] = {}
    for path in found.json()["paths"].values():
        operations |= {operation["operationId"]: operation for operation in path.values()}
    return operations


@pytest.mark.timeout(600)
def test_every_answer_is_documented_and_none_is_a_failure(served: Running, tmp_path: Path) -> None:
    """The events are tested on their own, since they never end, and so is what takes the token away."""
    without = ["--exclude-operation-id", "listenToEvents", "--exclude-operation-id", "removeToken"]
    code, told = schemathesis(served, tmp_path, *without)
    assert code == 0, told
    assert f"Tested: {len(described(served.url)) - 2}" in told, told
    assert httpx.get(f"{served.url}/livez", verify=False).json() == {"status": "ok"}  # noqa: S501


@pytest.mark.timeout(600)
def test_tokens_come_to_an_end_as_it_is_documented(served: Running, tmp_path: Path) -> None:
    code, told = schemathesis(served, tmp_path, "--include-operation-id", "removeToken")
    assert code == 0, told


def test_every_problem_that_is_documented_has_a_kind_of_its_own(served: Running) -> None:
    for name, operation in described(served.url).items():
        kinds = [
            example["value"]["type"]
            for response in operation["responses"].values()
            for example in response["content"].get("application/problem+json", {}).get("examples", {}).values()
        ]
        assert len(kinds) == len(set(kinds)), name
        assert json.dumps(kinds).count("urn:icws:problem:") == len(kinds), name
