"""Takes away, for this process, what Linux has and macOS does not: imported before anything else in it.

It cannot show that macOS works, only that nothing here needs these parts, at import or at run.
"""

import builtins
import ctypes
import io
import os
import select
import selectors
import socket
import sys
from typing import Any

LINUX_ONLY = {
    os: (
        *("sched_getaffinity", "sched_setaffinity", "memfd_create", "pidfd_open", "setns", "unshare", "splice"),
        *("eventfd", "eventfd_read", "eventfd_write", "posix_fadvise", "posix_fallocate", "copy_file_range"),
        *("O_TMPFILE", "O_PATH", "O_DIRECT", "getrandom", "preadv2", "accept4"),
    ),
    select: ("epoll", "EPOLLIN", "EPOLLOUT", "EPOLLET"),
    socket: (
        *("SO_PEERCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_DEFER_ACCEPT"),
        *("TCP_QUICKACK", "SO_BINDTODEVICE", "SO_MARK", "AF_NETLINK", "AF_VSOCK", "MSG_NOSIGNAL"),
    ),
}
_FOLDERS = ("/proc", "/sys/fs")
_MISSING = ("uvloop",)


def _is_linux_only(path: object) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).__str__().startswith(_FOLDERS)


def _without_linux(function: Any) -> Any:
    def call(path: Any, *arguments: Any, **named: Any) -> Any:
        if _is_linux_only(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **named)

    return call


class _Refuse:
    """Finds no module that is not there on macOS, or whose wheels may not be."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in _MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class _LibraryWithoutInotify:
    """The C library, as far as both systems have it."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        if name.startswith("inotify"):
            raise AttributeError(name)
        return getattr(self._library, name)


def take_away() -> None:
    """From now on; modules that were imported before keep what they have."""
    for module, names in LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for module_, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "listdir"), (os, "scandir")):
        setattr(module_, name, _without_linux(getattr(module_, name)))
    os.access = _without_linux(os.access)
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc] # that of macOS, kqueue, is not here
    library = ctypes.CDLL
    ctypes.CDLL = lambda name, *more, **named: (  # type: ignore[misc, assignment]
        _LibraryWithoutInotify(library(name, *more, **named)) if name is None else library(name, *more, **named)
    )
    sys.meta_path.insert(0, _Refuse())  # type: ignore[arg-type]


take_away()
