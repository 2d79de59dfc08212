"""What an examination finds."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A problem with a key. It ``passes`` if it is one of the surroundings, such as an address that is taken: then
    another attempt may succeed with the same configuration. ``place`` is known where the problem is in another file.
    """

    key: str
    problem: str
    passes: bool = False
    place: str = ""
