"""The time of a real Redis beside that of a board: they are compared step by step, and only Redis has a real clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class _TooSlow(Exception):
    """What Redis holds may have expired."""


class Pace:
    """Makes each step come a millisecond after the one before: by their times the scripts order what they hold, and a
    board whose clock moves on with each step has the same order.
    """

    def __init__(self, within_ms: int) -> None:
        self._ends_ns = time.monotonic_ns() + within_ms * 10**6

    def step(self) -> None:
        """Wait for the next millisecond."""
        before = time.time_ns()
        while time.time_ns() < before + 10**6:
            pass

    def compare(self, ours: object, theirs: object, *what: object) -> None:
        """Raises AssertionError where they differ, unless what Redis has may have expired."""
        if ours != theirs and time.monotonic_ns() >= self._ends_ns:
            raise _TooSlow
        assert ours == theirs, what


@contextmanager
def paced(within_ms: int) -> Iterator[Pace]:
    """Compare steps at Redis and a board for so long, after which the first that expires at Redis may do so. On a
    machine that stood still the steps after that prove nothing, and the first difference ends them.
    """
    with suppress(_TooSlow):
        yield Pace(within_ms)
