"""The artefacts, in environments of their own: `make dist-test`. Without ``ICWS_DIST``, the folder that has them, they
are skipped: to make them takes minutes. ``ICWS_TARGET`` names a folder in which Cargo finds what it compiled before.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE_S = 3600
"""For one command. To compile everything takes a quarter of an hour and more where others use the machine, too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """To make a Debian, install packages and compile takes minutes, each of which has a limit of its own."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(4 * PATIENCE_S))


@dataclass(frozen=True)
class Artefacts:
    folder: Path

    def only(self, pattern: str) -> Path:
        """The file of a kind. There has to be one."""
        (found,) = self.folder.glob(pattern)
        return found


@dataclass(frozen=True)
class Environment:
    """An environment of Python that began empty."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a program of it, without anything of this checkout; what it prints."""
        return run(str(self.folder / "bin" / command[0]), *command[1:], cwd=cwd or self.folder)


def outside() -> dict[str, str]:
    """The variables of a user who has no checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ICWS", "VIRTUAL"))}


def run(*command: str, cwd: Path) -> str:
    """Run a command to its success; what it prints."""
    done = subprocess.run(  # noqa: S603
        command, cwd=cwd, env=outside(), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def artefacts() -> Artefacts:
    if not (folder := os.environ.get("ICWS_DIST")):
        pytest.skip("ICWS_DIST names no folder of artefacts; `make dist dist-test` makes and tests them")
    return Artefacts(Path(folder))


@pytest.fixture
def empty(tmp_path: Path) -> Environment:
    run(sys.executable, "-m", "venv", str(tmp_path / "empty"), cwd=tmp_path)
    return Environment(tmp_path / "empty")


@pytest.fixture(scope="session")
def packing() -> str:
    """The interpreter with what `make dist` uses."""
    python = Path(sys.prefix).with_name(f"{Path(sys.prefix).name}-dist") / "bin" / "python"
    found = os.environ.get("ICWS_PACK") or shutil.which(python)
    return found or pytest.skip(f"{python} is missing; `make dist` makes it")
