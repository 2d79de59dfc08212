"""Notifications of Linux about files: inotify(7).

Our own few lines, because they have to say when a writer has closed a file, which packages for many systems leave out.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
OVERFLOW = 0x4000
_IGNORED = 0x8000
_MASK = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF

_EVENT = struct.Struct("iIII")
_MAX_READ = 64 * 1024


class Notice(NamedTuple):
    """Something happened to a path; ``mask`` are the bits above. With OVERFLOW, notices were lost and it is empty."""

    path: Path
    mask: int


class Inotify:
    """Watches folders and files. The owner must call `close`. Its ``descriptor`` is readable when there are notices."""

    def __init__(self) -> None:
        """Raises OSError where there is no inotify, or no more of it for this user."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError("this system has no inotify")
        self.descriptor: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._paths: dict[int, Path] = {}

    def add(self, path: Path) -> int:
        """Watch a folder or a file. Returns a handle for `remove`: the same one for the same inode. Raises OSError."""
        handle = self._checked(self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), _MASK))
        self._paths[handle] = path
        return handle

    def remove(self, handle: int) -> None:
        """Watch it no more, unless it is gone already."""
        if self._paths.pop(handle, None) is not None:
            self._libc.inotify_rm_watch(self.descriptor, handle)

    def read(self) -> list[Notice]:
        """The notices since the last call. Does not wait."""
        notices: list[Notice] = []
        while True:
            try:
                data = os.read(self.descriptor, _MAX_READ)
            except BlockingIOError:
                return notices
            notices += self._parsed(data)

    def close(self) -> None:
        """End every watch."""
        os.close(self.descriptor)

    def _parsed(self, data: bytes) -> Iterator[Notice]:
        offset = 0
        while offset < len(data):
            handle, mask, _, size = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + size].rstrip(b"\0")
            offset += _EVENT.size + size
            if mask & _IGNORED:
                self._paths.pop(handle, None)
            elif mask & OVERFLOW:
                yield Notice(Path(), OVERFLOW)
            elif (path := self._paths.get(handle)) is not None:
                yield Notice(path / os.fsdecode(name) if name else path, mask)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
