"""The standard streams of a command, whatever it was started with."""

import io
import os
import sys
from typing import TextIO

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def prepare_streams() -> None:
    """Open the null device for each standard stream that is closed, and let what their encoding lacks be written out.

    A closed one is more than a nuisance: the next file or socket that is opened gets its number, and whatever prints
    would write there. Call this before anything else is opened. Raises OSError without a null device.
    """
    for number, name, mode in _STREAMS:
        if not _is_open(number):
            _open_null(number)
        if getattr(sys, name) is None:  # Python leaves it so for a stream that was closed at the start
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of Latin-1 or ASCII has no "…", and a file name may hold bytes that are no UTF-8.
            stream.reconfigure(errors="backslashreplace")


def abandon_broken_streams() -> bool:
    """Drop what cannot be written any more, so that the interpreter does not complain of it again at its end. Returns
    whether that was so of standard output.
    """
    broken = [number for number, name, _ in _STREAMS[1:] if not _is_flushed(getattr(sys, name))]
    for number in broken:
        os.close(number)
        _open_null(number)
    return 1 in broken


def _is_flushed(stream: TextIO | None) -> bool:
    try:
        if stream is not None:
            stream.flush()
    except ValueError:  # it is closed
        return True
    except OSError:
        return False
    return True


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_null(number: int) -> None:
    found = os.open(os.devnull, os.O_RDWR)
    if found != number:
        os.dup2(found, number)
        os.close(found)
    os.set_inheritable(number, True)
