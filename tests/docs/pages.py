"""What the pages of the documentation tell their readers to type."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGES = [
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "systemd/README.md", "distribution/README.md")),
    TOP / "demo" / "web" / "reconnect" / "README.md",
    *sorted((TOP / "docs").glob("*.md")),
]
PROGRAMS = (
    "icws",
    "echo",
    "make",
    "python",
    "pip",
    "npm",
    "curl",
    "systemctl",
    "journalctl",
    "editor",
    "systemd/install.sh",
    "apt",
    "docker",
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the page, the language behind its fence ("" without one) and its text."""

    page: Path
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """Of all pages."""
    for page in PAGES:
        yield from (Block(page, *found) for found in _BLOCK.findall(page.read_text()))


def commands_of(text: str) -> Iterator[str]:
    """The command lines of a block, without prompts, comments and the folder of the programs."""
    for line in text.replace("\\\n", " ").splitlines():
        command = " ".join(_COMMENT.sub("", line.removeprefix("$ ")).split()).replace(".venv/bin/", "")
        if command.startswith(tuple(f"{program} " for program in PROGRAMS)) or command in PROGRAMS:
            yield command


def commands() -> list[str]:
    """Each command of the documentation, once."""
    untagged = (block for block in blocks() if block.language in ("", "console", "sh", "bash"))
    return list(dict.fromkeys(command for block in untagged for command in commands_of(block.text)))
