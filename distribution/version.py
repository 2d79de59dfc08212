"""The version, whose place is `native/Cargo.toml`. The wheel reads it there; `write` copies it to where others do."""

import json
import re
import tomllib
from pathlib import Path

from distribution.source import TOP

PLACE = "native/Cargo.toml"
LOCK = "native/Cargo.lock"
NPM_PACKAGE, NPM_LOCK = "demo/web/reconnect/package.json", "demo/web/package-lock.json"
_SHAPE = re.compile(r"\d+\.\d+\.\d+(?:rc\d+)?")


def read(top: Path = TOP) -> str:
    """The version of the checkout. Raises OSError."""
    text = tomllib.loads((top / PLACE).read_text())["workspace"]["package"]["version"]
    # Cargo writes 1.2.0-rc1, Python 1.2.0rc1
    return str(text).replace("-rc", "rc")


def copies(top: Path = TOP) -> dict[str, str]:
    """The version by each place that has a copy of it. Raises OSError."""
    packages = tomllib.loads((top / LOCK).read_text())["package"]
    ours = (package for package in packages if "source" not in package)
    found = {f"{LOCK} {crate['name']}": crate["version"].replace("-rc", "rc") for crate in ours}
    found[NPM_PACKAGE] = json.loads((top / NPM_PACKAGE).read_text())["version"].replace("-rc", "rc")
    found[NPM_LOCK] = json.loads((top / NPM_LOCK).read_text())["packages"]["reconnect"]["version"].replace("-rc", "rc")
    return found


def write(version: str, top: Path = TOP) -> list[str]:
    """Set the version in its place and in the copies. Returns the files that changed. Raises ValueError, OSError."""
    if not _SHAPE.fullmatch(version):
        raise ValueError(f"{version!r} is no version; write 1.2.3 or 1.2.3rc1")
    semantic = version.replace("rc", "-rc")
    edits = [
        (PLACE, r'(\[workspace\.package\]\nversion = )"[^"]+"', rf'\1"{semantic}"'),
        # crates of a registry have a line more, with their source
        (LOCK, r'(name = "icws-[a-z]+"\nversion = )"[^"]+"(?!\nsource)', rf'\1"{semantic}"'),
        (NPM_PACKAGE, r'("version": )"[^"]+"', rf'\1"{semantic}"'),
        (NPM_LOCK, r'("reconnect": \{\n\s+"name": "icws-reconnect",\n\s+"version": )"[^"]+"', rf'\1"{semantic}"'),
    ]
    return [place for place, pattern, new in edits if _replace(top / place, pattern, new)]


def _replace(path: Path, pattern: str, new: str) -> bool:
    text = path.read_text()
    replaced, count = re.subn(pattern, new, text)
    if not count:
        raise ValueError(f"{path}: no version here; {pattern} is not found")
    path.write_text(replaced)
    return replaced != text
