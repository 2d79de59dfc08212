"""Which files are being written, by the notices of the kernel. No input, no output and no clock."""

from collections.abc import Iterable

from appliance.config.watch.inotify import (
    CLOSE_WRITE,
    CREATE,
    DELETE,
    DELETE_SELF,
    MODIFY,
    MOVE_SELF,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    Notice,
)
from appliance.config.watch.ways import Way

_ENDS = CLOSE_WRITE | MOVED_TO
"""A writer has closed the file, or a finished one was renamed to it."""
_GONE = DELETE | DELETE_SELF | MOVED_FROM | MOVE_SELF


class Writes:
    """``unfinished`` are files that a writer has changed and not closed yet: what is in them may be the first half.
    ``finished`` are those that were closed or replaced since `forget`.
    """

    def __init__(self) -> None:
        self.unfinished: set[Way] = set()
        self.finished: set[Way] = set()

    def follow(self, ways: Iterable[Way]) -> None:
        """Forget the files that are not on these ways any more."""
        present = set(ways)
        self.unfinished &= present
        self.finished &= present

    def notice(self, notice: Notice, ways: Iterable[Way]) -> None:
        """Take a notice into account."""
        if notice.mask & OVERFLOW:
            self.unfinished.clear()  # their ends may be among the lost ones; what changes is found by reading again
            return
        for way in ways:
            if notice.path in way.links and notice.mask & (CREATE | MOVED_TO):
                self.finished.add(way)  # a link is complete as soon as it is there
            elif notice.path == way.end:
                self._at_end(way, notice.mask)

    def forget(self) -> None:
        """Begin with another change."""
        self.finished.clear()

    def _at_end(self, way: Way, mask: int) -> None:
        if mask & MODIFY:
            self.unfinished.add(way)
            self.finished.discard(way)
        if mask & (_ENDS | _GONE):
            self.unfinished.discard(way)
        if mask & _ENDS:
            self.finished.add(way)
