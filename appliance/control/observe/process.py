"""The process, as Linux sees it. Read without ``/proc/stat``, which a hardened service has not."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process uses; None where the system does not tell."""

    cpu_s: float
    resident_bytes: int | None
    open_fds: int | None
    max_fds: int


def usage() -> Usage:
    """What is used now."""
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
