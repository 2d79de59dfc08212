"""``make reproduce``: make the artefacts again in a clone elsewhere, from nothing, and compare their bytes."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from distribution.source import COMMIT, TOP, WORK, clone_at
from distribution.sums import NAME

SECOND = WORK / "second"
"""Where a build that differs is kept, to be compared."""


def differences(first: str, second: str) -> list[str]:
    """The files whose sums differ, or that one side lacks."""
    return sorted({line.split("  ", 1)[1] for line in set(first.splitlines()) ^ set(second.splitlines())})


def main() -> int:
    """Compare ``dist/`` with a second build of its commit. Returns 1 if anything differs."""
    try:
        first, commit = (TOP / "dist" / NAME).read_text(), (WORK / COMMIT).read_text().strip()
    except FileNotFoundError as error:
        sys.stderr.write(f"reproduce: {error.filename} is missing; `make dist` comes first\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="icws-") as folder:
        clone = Path(folder) / "clone"
        clone_at(clone, commit)
        command = [sys.executable, "-m", "distribution"]
        subprocess.run(command, cwd=clone, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        second = (clone / "dist" / NAME).read_text()
        if differ := differences(first, second):
            shutil.rmtree(SECOND, ignore_errors=True)
            shutil.copytree(clone / "dist", SECOND)
            sys.stderr.write(f"the second build is kept in {SECOND}\n")
    sys.stdout.write(f"{', '.join(differ)}: not the same bytes\n" if differ else f"{first}the same bytes twice\n")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
