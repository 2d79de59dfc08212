"""The test vectors, which lie beside this module. README.md has the origin and the fields of each file."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent


def path(name: str) -> Path:
    """The file of a vector, e.g. ``certificates/01.cbor``. Raises FileNotFoundError where there is none."""
    file = ROOT / name
    if not file.is_file():
        raise FileNotFoundError(f"no test vector {file}: the clone is not whole")
    return file


def load_json(name: str) -> Any:
    """The content of a JSON file, e.g. ``principals.json``. Raises FileNotFoundError where there is none."""
    return json.loads(path(name).read_text())


def load_bytes(name: str) -> bytes:
    """The content of a binary file. Raises FileNotFoundError where there is none."""
    return path(name).read_bytes()
