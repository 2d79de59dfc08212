"""``SHA256SUMS``, in the format that ``sha256sum --check`` reads."""

import hashlib
from pathlib import Path

NAME = "SHA256SUMS"


def write(folder: Path) -> str:
    """Write the sums of all files in a folder beside them, and return them. Raises OSError."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME)
    text = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (folder / NAME).write_text(text)
    return text
