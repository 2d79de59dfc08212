"""A Dockerfile as a list of instructions."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    text: str


def read(path: Path) -> list[Instruction]:
    """The instructions of a file, each on one line."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return [Instruction(name, " ".join(rest.split()) if name != "RUN" else rest.strip()) for name, rest in pairs]
