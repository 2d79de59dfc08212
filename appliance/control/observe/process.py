"""Resource usage of the process. Does not read ``/proc/stat``, which a hardened service cannot see."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage; None where the system does not provide a value."""

    cpu_s: float
    resident_bytes: int | None
    open_fds: int | None
    max_fds: int


def usage() -> Usage:
    """The current usage."""
    times = os.times()
    return Usage(times.user + times.system, _resident(), _open_fds(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _resident() -> int | None:
    try:
        pages = (_SELF / "statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _open_fds() -> int | None:
    try:
        return len(os.listdir(_SELF / "fd")) - 1  # one of them reads the folder
    except OSError:
        return None
