"""Where the shared test vectors are. Tests that need them are skipped with a sentence where they are not."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def path(name: str) -> Path:
    """The file of a vector, e.g. ``certificates/certificates.json``; skips the test (or at import the module) where it
    is missing."""
    file = ROOT / name
    if not file.exists():
        reason = f"the shared test vectors have no {name}: they lie beside the repository in ../shared/vectors"
        pytest.skip(reason, allow_module_level=True)
    return file


def load_json(name: str) -> Any:
    """The content of a JSON vector; skips the test where it is missing."""
    return json.loads(path(name).read_text())


def load_bytes(name: str) -> bytes:
    """The content of a binary vector; skips the test where it is missing."""
    return path(name).read_bytes()
