"""A canister's module, compiled and linked with the system functions."""

import weakref
import zlib
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import wasmtime

from appliance.localnet.wasm import binary, ic0_canister, ic0_cycles, ic0_messages
from appliance.localnet.wasm.binary import MODULE_LIMIT, InvalidModule
from appliance.localnet.wasm.candid_export import EXPORT, read_exported_interface
from appliance.localnet.wasm.compilation import compile_module, engine
from appliance.localnet.wasm.execution import ContractViolation, Execution, WasmTrap
from appliance.localnet.wasm.system_api import SystemFunction

GZIP = b"\x1f\x8b\x08"
MASKS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}
ENTRIES = {
    "canister_init",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
}
PREFIXES = ("canister_update ", "canister_query ", "canister_composite_query ")
SYSTEM_FUNCTIONS = {
    name: function
    for module in (ic0_canister, ic0_cycles, ic0_messages)
    for name, function in module.ic0.functions.items()
}
"""What a module may import from ``ic0``, by name (interface specification, "System API")."""


class Module:
    """Validated and compiled. ``current`` is the execution that system functions belong to while one runs.

    Takes the bytes as they are uploaded, of which ``hash`` is the SHA-256. Raises InvalidModule.
    """

    def __init__(self, data: bytes, *, cache: Path | None = None) -> None:
        self.hash = sha256(data).digest()
        found = binary.read(_inflate(data))
        self.engine = engine()
        self.current: Execution | None = None
        self.globals = found.globals
        self.has_memory = found.has_memory
        self.has_start = found.has_start
        self.metadata = found.metadata
        self.private_metadata = found.private_metadata
        self.keeps_memory = "enhanced-orthogonal-persistence" in self.private_metadata
        compiled = compile_module(found.code, cache)
        self.exports = _check_exports(compiled)
        self._exports_interface = any(exported.name == EXPORT for exported in compiled.exports)
        self._linker = wasmtime.Linker(self.engine)
        self._link(compiled, "i64" if found.is_memory64 else "i32")
        self._instances = self._linker.instantiate_pre(compiled)

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """A new instance with the module's own memory. Raises WasmTrap."""
        try:
            return self._instances.instantiate(store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise WasmTrap(str(error)) from error

    @cached_property
    def exported_interface(self) -> str:
        """The Candid interface that ``get_candid_pointer`` returns, or empty."""
        return read_exported_interface(self) if self._exports_interface else ""

    def _link(self, module: wasmtime.Module, pointer: str) -> None:
        linked: set[str] = set()
        for wanted in module.imports:
            function = SYSTEM_FUNCTIONS.get(wanted.name or "") if wanted.module == "ic0" else None
            if function is None:
                raise InvalidModule(f"imports {wanted.module}.{wanted.name}, which the system does not have")
            kind = wanted.type
            if not isinstance(kind, wasmtime.FuncType):
                raise InvalidModule(f"imports {wanted.name}, which is a function, as something else")
            found = [str(value) for value in kind.params], [str(value) for value in kind.results]
            if found != function.signature(pointer):
                raise InvalidModule(f"imports ic0.{wanted.name} with the signature {_arrow(found)}")
            if function.name not in linked:
                linked.add(function.name)
                self._linker.define_func("ic0", function.name, kind, self._bind(function, found[0]))

    def _bind(self, function: SystemFunction, parameters: list[str]) -> Callable[..., int | None]:
        masks = [MASKS[parameter] for parameter in parameters]
        allowed, run, name = function.allowed, function.run, function.name
        weak = weakref.ref(self)  # the engine holds the function, and would hold this module for ever with it

        def call(*arguments: int) -> int | None:
            module = weak()
            execution = None if module is None else module.current
            if execution is None:  # the start function is not run by instantiation
                raise WasmTrap(f"ic0.{name} was called outside of an execution")
            if execution.kind not in allowed:
                raise ContractViolation(f"ic0.{name} cannot be called in {execution.kind.title}")
            return run(execution, *[value & mask for value, mask in zip(arguments, masks, strict=True)])

        return call


def _inflate(data: bytes) -> bytes:
    if not data.startswith(GZIP):
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        code = stream.decompress(data, MODULE_LIMIT + 1)
    except zlib.error as error:
        raise InvalidModule(f"cannot be decompressed: {error}") from error
    if len(code) <= MODULE_LIMIT and not stream.eof:
        raise InvalidModule("cannot be decompressed: it ends early")
    return code


def _check_exports(module: wasmtime.Module) -> frozenset[str]:
    """The names of the entry points. Raises InvalidModule for one that the system does not know or cannot call."""
    entries: set[str] = set()
    methods: set[str] = set()
    for exported in module.exports:
        name = exported.name
        if not name.startswith("canister_"):
            continue
        if name not in ENTRIES and not name.startswith(PREFIXES):
            raise InvalidModule(f"exports {name!r}, a name that is kept for the system")
        kind = exported.type
        if not isinstance(kind, wasmtime.FuncType) or kind.params or kind.results:
            raise InvalidModule(f"exports {name!r}, which is not a function without parameters and results")
        if name.startswith(PREFIXES):
            method = name.split(" ", 1)[1]
            if method in methods:
                raise InvalidModule(f"exports the method {method!r} more than once")
            methods.add(method)
        entries.add(name)
    return frozenset(entries)


def _arrow(signature: tuple[list[str], list[str]]) -> str:
    parameters, results = signature
    return f"({', '.join(parameters)}) -> ({', '.join(results)})"
