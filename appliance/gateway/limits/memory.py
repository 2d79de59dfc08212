"""The memory that the process may use, of its cgroup or of the machine, and how it gives back what it used."""

import ctypes
import os
from pathlib import Path

from appliance.config.fields.units import parse_size

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")

LARGE_BUFFER = 512 * 1024
"""Bytes from which on a buffer is memory of its own, which the system gets back as soon as it is freed."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt`` (glibc's ``malloc.h``)."""


def return_large_buffers() -> bool:
    """Have the C library return large buffers to the system once they are freed; False where it has no such setting.

    By default glibc raises the size from which on it does so whenever a larger buffer is freed, up to 32 MiB. Then the
    halves of messages of some clients stay resident long after these are gone, between small objects of others, and
    the process takes twice what ``limits.memory`` counts.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl and macOS: they have other allocators
        return False
    # Setting one stops glibc from adapting both: the second would stay at 128 KiB, and the heap would shrink and grow
    # with every read.
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER) and mallopt(_M_TRIM_THRESHOLD, 2 * LARGE_BUFFER))


def memory_limit(text: str) -> int:
    """The bytes that ``limits.memory`` stands for: a size, or a part such as ``60%`` of ``available_memory``."""
    return available_memory() * int(text[:-1]) // 100 if text.endswith("%") else parse_size(text)


def available_memory() -> int:
    """Bytes of this machine, or fewer if a cgroup of the process has a limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_cgroup_limits()])


def _cgroup_limits() -> list[int]:
    """The limits of the process's cgroup and of those around it, in either version."""
    limits = []
    for folder in _cgroups():
        for name in _FILES:
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # not there, or "max"
                continue
    return limits


def _cgroups() -> list[Path]:
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            own = (_CGROUPS / controllers / path.lstrip("/")).resolve()
            found += [own, *(parent for parent in own.parents if parent.is_relative_to(_CGROUPS))]
    return found
