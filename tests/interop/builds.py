"""What `make interop-builds` makes: whether it is there, and of the sources that there are now."""

from collections.abc import Iterable
from pathlib import Path


class NotBuilt(Exception):
    """It is not built, or of other sources; the text says what to do."""


def built(file: Path, sources: Iterable[Path], what: str) -> Path:
    """The file. Raises NotBuilt."""
    if not file.exists():
        raise NotBuilt(f"{what} is not built; `make interop-builds` does it")
    if max(source.stat().st_mtime for source in sources) > file.stat().st_mtime:
        raise NotBuilt(f"{what} is older than its sources; `make interop-builds` builds it")
    return file
