"""The state of a Wasm canister between two executions, and the stable memory of one execution."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.wasm.memory import WASM_PAGE, SparseFile

STABLE_LIMIT_PAGES = 500 * 1024**3 // WASM_PAGE
BLOCK = 4096
MEMORY_FILE, STABLE_FILE, GLOBALS_FILE = "memory", "stable_memory", "globals.json"


class OutOfBounds(ExecutionError):
    """An access beyond the end of a memory."""

    @property
    def sentence(self) -> str:
        """The memory, in the wording of the replica."""
        return f"Canister trapped: {self}"


@dataclass
class WasmState:
    """Committed bytes and numbers. ``memory`` and ``globals`` (the mutable ones) are empty until the installation."""

    memory: SparseFile = field(default_factory=SparseFile)
    stable: SparseFile = field(default_factory=SparseFile)
    globals: tuple[int | float, ...] = ()

    def fork(self) -> "WasmState":
        """An equal state of its own."""
        return WasmState(self.memory.copy(), self.stable.copy(), self.globals)

    def save(self, folder: Path) -> None:
        """Write everything into a folder, which must exist. Raises OSError."""
        self.memory.save(folder / MEMORY_FILE)
        self.stable.save(folder / STABLE_FILE)
        (folder / GLOBALS_FILE).write_text(json.dumps(self.globals))

    @staticmethod
    def load(folder: Path) -> "WasmState":
        """Read a saved state. Raises OSError, and ValueError where it is damaged."""
        numbers = json.loads((folder / GLOBALS_FILE).read_text())
        return WasmState(SparseFile.load(folder / MEMORY_FILE), SparseFile.load(folder / STABLE_FILE), tuple(numbers))


class StableView:
    """Stable memory in one execution. Written blocks are kept apart until `commit`.

    Unlike main memory it cannot be mapped into the instance: modules reach it by system functions, up to 500 GiB of it.
    """

    def __init__(self, stored: SparseFile) -> None:
        self._stored = stored
        self._blocks: dict[int, bytearray] = {}
        self.size = stored.size

    @property
    def pages(self) -> int:
        """Its size in pages of 64 KiB."""
        return self.size // WASM_PAGE

    def grow(self, pages: int) -> int:
        """Add pages and return how many there were; -1 where there would be too many."""
        before = self.pages
        if before + pages > STABLE_LIMIT_PAGES:
            return -1
        self.size += pages * WASM_PAGE
        return before

    def read(self, offset: int, size: int) -> bytes:
        """Bytes as they are now. Raises OutOfBounds."""
        self._check(offset, size)
        if not self._blocks:
            return self._committed(offset, size)
        return b"".join(
            bytes(self._blocks[block][start:end])
            if block in self._blocks
            else self._committed(block * BLOCK + start, end - start)
            for block, start, end in _pieces(offset, size)
        )

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes. Raises OutOfBounds."""
        self._check(offset, len(data))
        at = 0
        for block, start, end in _pieces(offset, len(data)):
            if block not in self._blocks:
                self._blocks[block] = bytearray(self._committed(block * BLOCK, BLOCK))
            self._blocks[block][start:end] = data[at : at + end - start]
            at += end - start

    def commit(self, target: SparseFile) -> None:
        """Store the written blocks and the size in the file that was read, or in a copy of it."""
        target.grow(self.size)
        for block, data in self._blocks.items():
            target.write(block * BLOCK, bytes(data))
        self._blocks.clear()

    def _committed(self, offset: int, size: int) -> bytes:
        data = self._stored.read(offset, size)
        return data + bytes(size - len(data))

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.size:
            raise OutOfBounds("stable memory out of bounds")


def _pieces(offset: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The blocks that a range covers, with the start and end in each."""
    end = offset + size
    while offset < end:
        block, start = divmod(offset, BLOCK)
        stop = min(BLOCK, start + end - offset)
        yield block, start, stop
        offset += stop - start
