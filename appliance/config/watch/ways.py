"""The way to a file, through folders and symbolic links: all that may be replaced to change its content."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAX_LINKS = 40
"""Symbolic links on the way to a file, as Linux has it."""


class Way(NamedTuple):
    """``places`` are folders and the file itself, whose notifications tell of a replacement. ``links`` are the symbolic
    links on the way, and ``end`` is the path that they lead to."""

    places: frozenset[Path]
    links: frozenset[Path]
    end: Path


def way_to(file: Path) -> Way:
    """The folder of every symbolic link on the way to a file, the folder of the file, and the file."""
    here, ahead = Path("/"), list(file.absolute().parts[1:])
    links: list[Path] = []
    while ahead:
        step = here / ahead.pop(0)
        if step.name == "..":
            here = here.parent
        elif (target := _target(step)) is not None and len(links) < MAX_LINKS:
            links.append(step)
            ahead = [*target.parts[target.is_absolute() :], *ahead]
            here = Path("/") if target.is_absolute() else here
        else:
            here = step
    return Way(frozenset({here.parent, here, *(link.parent for link in links)}), frozenset(links), here)


def _target(step: Path) -> Path | None:
    """Where a symbolic link leads; None if it is none, or cannot be read: others may be replacing it."""
    try:
        return Path(os.readlink(step))
    except OSError:
        return None


def places_of(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """The places of the ways to these files that exist, with their device and inode: the same path may be another
    folder later.
    """
    places: dict[Path, tuple[int, int]] = {}
    for place in {place for file in files for place in way_to(file).places}:
        try:
            status = place.stat()
        except OSError:
            continue
        places[place] = (status.st_dev, status.st_ino)
    return places
