"""What a user without rights meets, also where the tests run as root."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root becomes nobody meanwhile. Whatever is imported must have been before: nobody may not read it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def hidden_folder() -> Iterator[Path]:
    """A folder that nobody may enter, in one where everybody may do everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "hidden")
        Path(name).chmod(0o777)
        folder.mkdir(mode=0)
        try:
            yield folder
        finally:
            folder.chmod(0o700)
