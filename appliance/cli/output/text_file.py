"""Text files that a command writes where its user says, over an earlier one."""

import os
from pathlib import Path

from appliance.whole_files import write_whole


def write_text(file: Path, text: str) -> None:
    """Write a file whole, or leave the earlier one; a pipe or a device is written to. Raises OSError.

    A link stays one, and the file keeps its mode.
    """
    if file.exists() and not file.is_file():
        with os.fdopen(os.open(file, os.O_WRONLY), "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    target = file.resolve()
    write_whole(target, text.encode(), mode=target.stat().st_mode & 0o777 if target.exists() else 0o644)
