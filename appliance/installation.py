"""How this gateway was installed, and what therefore brings an extra of it.

The name on a public index need not be ours: whoever is told to install that may get a program of somebody else. So
advice names the file or the folder that this gateway came from.
"""

import json
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Way = Literal["checkout", "file", "deb", "image"]


@dataclass(frozen=True, slots=True)
class Installation:
    """Where this gateway came from."""

    way: Way
    source: Path | None = None
    """The checkout, or the wheel or source archive if that is still there."""

    def __str__(self) -> str:
        text = {"checkout": "checkout", "file": "pip", "deb": "Debian package", "image": "container image"}[self.way]
        return f"{text}, {self.source}" if self.source is not None else text

    def advice(self, extra: str) -> str:
        """What to do for an extra of ``pyproject.toml`` that is missing."""
        if self.way == "checkout":
            return f"pip install --editable {shlex.quote(f'{self.source}[{extra}]')}"
        file = self.source or "FILE.whl"
        command = f"pip install {shlex.quote(f'{file}[{extra}]')}"
        if self.way == "file":
            return command
        return f"the {self} is without it; in an environment of your own: {command}, with the wheel of this version"


def installation() -> Installation:
    """How this gateway was installed, from the metadata that its installer left."""
    package = metadata.distribution("icws")
    installer = (package.read_text("INSTALLER") or "").strip()
    for way in ("deb", "image"):
        if installer == way:
            return Installation(way)
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    url = urlsplit(origin.get("url", ""))
    source = Path(unquote(url.path)) if url.scheme == "file" else None
    if source is not None and not source.exists():
        source = None
    is_checkout = source is not None and origin.get("dir_info", {}).get("editable", False)
    return Installation("checkout" if is_checkout else "file", source)
