"""The source that artefacts are made of: the last commit, without what else lies in the checkout."""

import os
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
WORK = TOP / "build" / "dist"
"""What `make dist` works in."""
COMMIT = "commit"
"""The file there that names the commit of the artefacts."""


def git(*arguments: str, top: Path = TOP) -> str:
    """What git prints. Raises CalledProcessError."""
    command = ["git", "-C", str(top), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def uncommitted(top: Path = TOP) -> list[str]:
    """The files that differ from the last commit, or are not in it. Raises CalledProcessError."""
    return [line.split(maxsplit=1)[1] for line in git("status", "--porcelain", top=top).splitlines()]


def epoch(top: Path = TOP, commit: str = "HEAD") -> int:
    """The time of all artefacts, in seconds since 1970: SOURCE_DATE_EPOCH, or else that of the commit."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct", commit, top=top))


def export(folder: Path, top: Path = TOP, commit: str = "HEAD") -> None:
    """Put the files of a commit into a folder, which is emptied first. Raises CalledProcessError, OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["git", "-C", str(top), "archive", "--format=tar", commit]
    archive = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    with tarfile.open(fileobj=BytesIO(archive)) as members:
        members.extractall(folder, filter="data")


def clone_at(folder: Path, commit: str, top: Path = TOP) -> None:
    """Clone the checkout at one of its commits into a new folder. Raises CalledProcessError."""
    git("clone", "--quiet", "--no-checkout", str(top), str(folder), top=top)
    git("checkout", "--quiet", "--detach", commit, top=folder)
