"""The memories of a canister between executions, as sparse files without a name.

On Linux a main memory is mapped from its file copy-on-write: an instance starts without a copy, dropping it is the
roll-back, and only the pages that it wrote are written back. On other systems memories are copied. A message to a
canister with 1 GiB of memory would otherwise copy 1 GiB.
"""

import ctypes
import mmap
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

PAGE = mmap.PAGESIZE
WASM_PAGE = 65536
COPIED_AT_ONCE = 1 << 20
PAGEMAP = "/proc/self/pagemap"
MAP_FIXED = 0x10
PRIVATE_PAGES = re.compile(rb"[\x40-\x5f\x80-\x9f\xc0-\xdf]+")
"""The highest bytes of entries in the page map: present or swapped, and not of the file (proc(5))."""


class SparseFile:
    """Bytes that are 0 until written; only written pages take memory. Closed when the last reference is gone."""

    def __init__(self, size: int = 0) -> None:
        self.fd = _open()
        weakref.finalize(self, os.close, self.fd)
        self.size = 0
        self.grow(size)

    def grow(self, size: int) -> None:
        """Make it longer, with zeros; does nothing where it is long enough."""
        if size > self.size:
            os.ftruncate(self.fd, size)
            self.size = size

    def read(self, offset: int, size: int) -> bytes:
        """Bytes within the file."""
        return os.pread(self.fd, size, offset)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill the target with bytes within the file."""
        done = 0
        while done < len(target):
            done += os.preadv(self.fd, [target[done:]], offset + done)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes within the file."""
        done = 0
        while done < len(data):
            done += os.pwrite(self.fd, data[done:], offset + done)

    def copy(self) -> "SparseFile":
        """Another file with the same bytes."""
        other = SparseFile(self.size)
        _copy(self.fd, other.fd, self.size)
        return other

    def save(self, path: Path) -> None:
        """Write everything into a file of the disk, sparse where this is. Raises OSError."""
        with path.open("wb") as file:
            file.truncate(self.size)
            _copy(self.fd, file.fileno(), self.size)

    @staticmethod
    def load(path: Path) -> "SparseFile":
        """Read what was saved. Raises OSError."""
        with path.open("rb") as file:
            loaded = SparseFile(os.fstat(file.fileno()).st_size)
            _copy(file.fileno(), loaded.fd, loaded.size)
        return loaded


def _copy(source: int, target: int, size: int) -> None:
    """Copy what is not zero, in pieces, between two files of that size."""
    for start, end in _written(source, size):
        for at in range(start, end, COPIED_AT_ONCE):
            data = os.pread(source, min(COPIED_AT_ONCE, end - at), at)
            done = 0
            while done < len(data):
                done += os.pwrite(target, data[done:], at + done)


def _written(fd: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # nothing but zeros follows
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _open() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("canister")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Attached(Protocol):
    """A memory of an instance, filled from a stored one."""

    def commit(self, size: int, target: SparseFile) -> None:
        """Store the memory, now ``size`` bytes, in the file that it was filled from or in a copy of that."""


class MappedMemory:
    """The pages of an instance's memory, mapped from the file until one is written."""

    def __init__(self, stored: SparseFile, address: int) -> None:
        self._address = address
        if stored.size:
            _map(address, stored.size, stored.fd)

    def commit(self, size: int, target: SparseFile) -> None:
        """Write the changed pages, including those beyond the old size."""
        target.grow(size)
        for run in PRIVATE_PAGES.finditer(_page_flags(self._address, size)):
            start, end = run.start() * PAGE, run.end() * PAGE
            target.write(start, view(self._address + start, end - start))


class CopiedMemory:
    """An instance's memory as a copy of the file."""

    def __init__(self, stored: SparseFile, address: int) -> None:
        self._address = address
        if stored.size:
            stored.read_into(0, view(address, stored.size))

    def commit(self, size: int, target: SparseFile) -> None:
        """Write what differs, in pieces as long as a page of Wasm."""
        target.grow(size)
        for start in range(0, size, WASM_PAGE):
            piece = view(self._address + start, WASM_PAGE)
            if piece != target.read(start, WASM_PAGE):
                target.write(start, piece)


@cache
def can_map() -> bool:
    """Whether this system maps memories; the page size must divide that of Wasm."""
    return os.access(PAGEMAP, os.R_OK) and hasattr(os, "memfd_create") and WASM_PAGE % PAGE == 0


def attach(stored: SparseFile, address: int) -> Attached:
    """Fill the memory of a new instance from the file, as much as there is; the instance has that size already.

    What the module itself has put into a first memory is not seen in the page map, so that is copied.
    """
    return MappedMemory(stored, address) if stored.size and can_map() else CopiedMemory(stored, address)


def view(address: int, size: int) -> memoryview:
    """The bytes at an address of this process, to read and write."""
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")


@cache
def _mmap() -> Callable[..., int | None]:
    """The C function; finding it takes as long as an execution, so it is cached."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    return function


def _map(address: int, size: int, fd: int) -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | MAP_FIXED
    got = _mmap()(ctypes.c_void_p(address), ctypes.c_size_t(size), protection, flags, fd, ctypes.c_long(0))
    if got != address:
        raise OSError(ctypes.get_errno(), "a memory cannot be mapped")


def _page_flags(address: int, size: int) -> bytes:
    """The highest byte of each page's entry in the page map."""
    with open(PAGEMAP, "rb", 0) as pages:
        entries = os.pread(pages.fileno(), size // PAGE * 8, address // PAGE * 8)
    return entries[7::8]
