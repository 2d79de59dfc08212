"""Reads and rewrites the binary of a module as far as the system API needs it (WebAssembly, "Binary Format").

An instance lives for one execution. To carry state from one to the next, mutable globals, memory and table are exported
under names of our own. The start function becomes an export too: instantiation would run it before every message, and
on the IC it runs at the installation only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.state.certification import leb128

MAGIC = b"\0asm\1\0\0\0"
MEMORY, TABLE, START, GLOBAL = "icws memory", "icws table", "icws start", "icws global "
MODULE_LIMIT = 100 * 1024 * 1024
"""Bytes of an uncompressed module, as on the IC."""

CUSTOM, IMPORTS, TABLES, MEMORIES, GLOBALS, EXPORTS, STARTS = 0, 2, 4, 5, 6, 7, 8
FUNCTION_KIND, TABLE_KIND, MEMORY_KIND, GLOBAL_KIND = 0, 1, 2, 3
IS_64_BIT = 4
NUMBERS = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}


class InvalidModule(ExecutionError):
    """The bytes are not a canister module."""

    error_code = "IC0505"

    @property
    def sentence(self) -> str:
        """The problem in the wording of the replica."""
        return f"Canister's Wasm module is not valid: {self}"


@dataclass
class Binary:
    """A module as far as it can be read without compiling it; ``code`` is the rewritten binary.

    ``globals`` are the indices of the mutable ones. ``custom`` holds every custom section by its name.
    """

    code: bytes = b""
    globals: list[int] = field(default_factory=list)
    custom: dict[str, bytes] = field(default_factory=dict)
    has_memory: bool = False
    is_memory64: bool = False
    has_table: bool = False
    has_start: bool = False

    @property
    def metadata(self) -> dict[str, bytes]:
        """The public custom sections."""
        prefix = "icp:public "
        return {name.removeprefix(prefix): data for name, data in self.custom.items() if name.startswith(prefix)}

    @property
    def private_metadata(self) -> dict[str, bytes]:
        """The custom sections that only controllers may read."""
        prefix = "icp:private "
        return {name.removeprefix(prefix): data for name, data in self.custom.items() if name.startswith(prefix)}


class Reader:
    """Reads bytes from front to back. Raises InvalidModule where they end early."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def is_done(self) -> bool:
        """Whether everything was read."""
        return self.at >= len(self.data)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if self.at + size > len(self.data):
            raise InvalidModule("the binary ends in the middle of a section")
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """An unsigned number in LEB128; a signed one is skipped likewise."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise InvalidModule("a number is too long")

    def name(self) -> str:
        """A text with its length before it."""
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError:
            raise InvalidModule("a name is not UTF-8") from None


def read(code: bytes) -> Binary:
    """Read and rewrite a module. Raises InvalidModule; the compiler checks the sections that are not read here."""
    if not code.startswith(MAGIC):
        raise InvalidModule("wasm or gzip header is missing")
    if len(code) > MODULE_LIMIT:
        raise InvalidModule(f"{len(code)} bytes, at most {MODULE_LIMIT} are allowed")
    found = Binary()
    exports, start = b"", -1
    sections: list[tuple[int, bytes]] = []
    for kind, body in _sections(code):
        reader = Reader(body)
        if kind == CUSTOM:
            name = reader.name()
            found.custom[name] = body[reader.at :]
        elif kind == IMPORTS:
            _check_imports(reader)
        elif kind == GLOBALS:
            found.globals = list(_mutable_globals(reader))
        elif kind == MEMORIES:
            _read_memory(reader, found)
        elif kind == TABLES:
            found.has_table = reader.number() > 0
        if kind == EXPORTS:
            exports = body
        elif kind == STARTS:
            start, found.has_start = reader.number(), True
        elif kind != CUSTOM or body[1:].startswith(b"name"):
            sections.append((kind, body))
    found.code = _write(sections, _more_exports(exports, found, start))
    return found


def _sections(code: bytes) -> Iterator[tuple[int, bytes]]:
    reader = Reader(code)
    reader.take(len(MAGIC))
    while not reader.is_done:
        kind = reader.byte()
        yield kind, reader.take(reader.number())


def _check_imports(reader: Reader) -> None:
    """Only functions may be imported; an imported global would also shift the indices of the exported ones."""
    for _ in range(reader.number()):
        module, name = reader.name(), reader.name()
        if reader.byte() != FUNCTION_KIND:
            raise InvalidModule(f"imports {module}.{name}, which is not a function")
        reader.number()


def _read_memory(reader: Reader, found: Binary) -> None:
    count = reader.number()
    if count > 1:
        raise InvalidModule(f"{count} memories, at most one is allowed")
    if count:
        found.has_memory = True
        found.is_memory64 = bool(reader.byte() & IS_64_BIT)


def _mutable_globals(reader: Reader) -> Iterator[int]:
    for index in range(reader.number()):
        kind = reader.byte()
        is_mutable = reader.byte() == 1
        if is_mutable and kind not in NUMBERS:
            raise InvalidModule("a mutable global is not a number")
        _skip_expression(reader)
        if is_mutable:
            yield index


def _skip_expression(reader: Reader) -> None:
    """Skip a constant expression: numbers, references, sums and products, up to its end."""
    while (opcode := reader.byte()) != 0x0B:
        if opcode in (0x41, 0x42, 0x23, 0xD2, 0xD0):
            reader.number()
        elif opcode in (0x43, 0x44):
            reader.take(4 if opcode == 0x43 else 8)
        elif opcode == 0xFD:
            reader.number()
            reader.take(16)
        elif opcode not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):
            raise InvalidModule(f"opcode {opcode:#x} in the start value of a global")


def _more_exports(exports: bytes, found: Binary, start: int) -> bytes:
    added = [(f"{GLOBAL}{index}", GLOBAL_KIND, index) for index in found.globals]
    if found.has_memory:
        added.append((MEMORY, MEMORY_KIND, 0))
    if found.has_table:
        added.append((TABLE, TABLE_KIND, 0))
    if found.has_start:
        added.append((START, FUNCTION_KIND, start))
    reader = Reader(exports or b"\0")
    count = reader.number() + len(added)
    entries = [leb128(len(name)) + name.encode() + bytes([kind]) + leb128(index) for name, kind, index in added]
    return leb128(count) + reader.data[reader.at :] + b"".join(entries)


def _write(sections: list[tuple[int, bytes]], exports: bytes) -> bytes:
    """Insert the exports in the order of the format: before the start, element, code and data sections."""
    order = {12: 9.5, 13: 5.5}  # the data count stands between elements and code, tags stand before globals
    place = next(
        (at for at, (kind, _) in enumerate(sections) if kind != CUSTOM and order.get(kind, kind) > EXPORTS),
        len(sections),
    )
    arranged = [*sections[:place], (EXPORTS, exports), *sections[place:]]
    return MAGIC + b"".join(bytes([kind]) + leb128(len(body)) + body for kind, body in arranged)
