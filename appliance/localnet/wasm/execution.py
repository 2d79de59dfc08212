"""One execution: an instance with the canister's state, functions run in it, and its changes committed or dropped."""

import ctypes
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import wasmtime
from wasmtime import TrapCode

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import Closure, OutgoingCall
from appliance.localnet.canisters.canister import Environment, ExecutionError
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.wasm.binary import GLOBAL, MEMORY, TABLE
from appliance.localnet.wasm.memory import WASM_PAGE, Attached, SparseFile, attach, view
from appliance.localnet.wasm.state import OutOfBounds, StableView, WasmState
from appliance.localnet.wasm.system_api import LIMITS, Kind

T = TypeVar("T")

TEXT_LIMIT = 4 * 1024**2
"""Bytes of a text that an exported function returns, at most."""

ONE_WAY = 0xFFFF_FFFF
"""Callbacks with this function index, or a greater one, have no function: the call is one-way."""


class ContractViolation(ExecutionError):
    """The module called a system function that is not allowed here, or with wrong arguments."""

    error_code = "IC0504"

    @property
    def sentence(self) -> str:
        """The violation in the wording of the replica."""
        return f"Canister violated contract: {self}"


class WasmTrap(ExecutionError):
    """The module trapped without ``ic0.trap``, e.g. by ``unreachable`` or a division by 0."""

    @property
    def sentence(self) -> str:
        """The reason in the wording of the replica."""
        return f"Canister trapped: {self}"


class InstructionLimit(ExecutionError):
    """The execution reached the instruction limit; the text is the limit."""

    error_code = "IC0522"

    @property
    def sentence(self) -> str:
        """The limit in the wording of the replica."""
        return f"Canister exceeded the limit of {self} instructions for single message execution."


TRAP_TEXTS = {
    TrapCode.STACK_OVERFLOW: "stack overflow",
    TrapCode.MEMORY_OUT_OF_BOUNDS: "heap out of bounds",
    TrapCode.HEAP_MISALIGNED: "heap misaligned",
    TrapCode.TABLE_OUT_OF_BOUNDS: "table out of bounds",
    TrapCode.INDIRECT_CALL_TO_NULL: "null function call",
    TrapCode.BAD_SIGNATURE: "function does not match its signature",
    TrapCode.INTEGER_OVERFLOW: "integer overflow",
    TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by 0",
    TrapCode.BAD_CONVERSION_TO_INTEGER: "bad conversion to integer",
    TrapCode.UNREACHABLE: "unreachable",
}


class Code(Protocol):
    """The part of `Module` that an execution uses; `Module` imports this module."""

    engine: wasmtime.Engine
    current: "Execution | None"
    globals: list[int]
    has_memory: bool

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """A new instance with the module's own memory. Raises WasmTrap."""


@dataclass
class Draft:
    """A call between ``call_new`` and ``call_perform``."""

    callee: bytes
    method: bytes
    on_reply: Closure
    on_reject: Closure
    on_cleanup: Closure | None = None
    arg: bytearray = field(default_factory=bytearray)
    cycles: int = 0


class Execution:
    """Created for one message, used by system functions, then committed or dropped.

    The kind can change from one function to the next of the same message (``START`` before ``INIT``).
    """

    def __init__(
        self, module: Code, state: WasmState, kind: Kind, env: Environment, *, arg: bytes = b"", method: str = ""
    ) -> None:
        self.kind = kind
        self.env = env
        self.arg = arg
        self.method = method.encode()
        self.response: Outcome | None = None
        self.reply = bytearray()
        self.draft: Draft | None = None
        self.is_accepted = False
        self.stable = StableView(state.stable)
        self._module = module
        self._limit = LIMITS[kind]
        self._store = wasmtime.Store(module.engine)
        self._store.set_fuel(self._limit)
        self._instance = module.instantiate(self._store)
        self._exports = self._instance.exports(self._store)
        self._memory: wasmtime.Memory | None = None
        self._attached: Attached | None = None
        self._view = memoryview(b"")
        self._address = 0
        if module.has_memory:
            self._attach(state.memory)
        self._globals = [_checked(self._exports[f"{GLOBAL}{index}"], wasmtime.Global) for index in module.globals]
        for variable, number in zip(self._globals, state.globals, strict=bool(state.globals)):
            variable.set_value(self._store, number)

    # --- for the canister ---

    def run(self, export: str) -> None:
        """Call an exported function. Raises ExecutionError."""
        self._call(self._exports[export])

    def run_closure(self, closure: Closure) -> None:
        """Call a function of the table. Raises ExecutionError."""
        table = self._exports.get(TABLE)
        function = table.get(self._store, closure.function) if isinstance(table, wasmtime.Table) else None
        if function is None:
            raise WasmTrap(f"there is no function {closure.function} in the table")
        self._call(function, closure.env)

    def text_of(self, export: str) -> bytes:
        """Call an exported function, and return the text that ends with a zero byte at the address that it returns.
        Raises ExecutionError."""
        address = self._call(self._exports[export])
        if not isinstance(address, int):
            raise WasmTrap(f"{export} returns no address")
        address &= 0xFFFF_FFFF
        self._refresh_view(address)
        text, end, _ = bytes(self._view[address : address + TEXT_LIMIT]).partition(b"\0")
        if not end:
            raise OutOfBounds("heap out of bounds")
        return text

    def respond_with(self, outcome: Outcome) -> None:
        """Give the module the response to its call."""
        self.response = outcome
        self.arg = outcome.arg if isinstance(outcome, Reply) else b""

    def commit(self, state: WasmState) -> None:
        """Store memories and globals in the state that this execution began with, or in a fork of it."""
        self.drop_draft()
        if self._memory is not None and self._attached is not None:
            self._attached.commit(self._memory.data_len(self._store), state.memory)
        self.stable.commit(state.stable)
        state.globals = tuple(number.value(self._store) for number in self._globals)

    def close(self) -> None:
        """Drop the instance and everything that was not committed."""
        self.env.instructions += self.instructions
        self._view.release()  # before the store: it is a view of the instance's memory
        self._store.close()

    @property
    def instructions(self) -> int:
        """How many were executed."""
        return self._limit - self._store.get_fuel()

    # --- for system functions ---

    def read(self, source: int, size: int) -> bytes:
        """Bytes of the main memory. Raises OutOfBounds."""
        self.check(source, size)
        return self._view[source : source + size].tobytes()

    def check(self, start: int, size: int) -> None:
        """Raises OutOfBounds where the main memory does not have these bytes."""
        if start + size > len(self._view):
            self._refresh_view(start + size)

    def write(self, target: int, data: bytes | bytearray) -> None:
        """Change the main memory. Raises OutOfBounds."""
        self.check(target, len(data))
        self._view[target : target + len(data)] = data

    def copy(self, data: bytes | bytearray, target: int, offset: int, size: int) -> None:
        """Copy a part of system data into the main memory. Raises OutOfBounds, ContractViolation."""
        if offset + size > len(data):
            raise ContractViolation(f"{offset} + {size} is outside the {len(data)} bytes that there are")
        self.write(target, data[offset : offset + size])

    def rejection(self) -> Rejection:
        """The response, if it is a rejection. Raises ContractViolation."""
        if not isinstance(self.response, Rejection):
            raise ContractViolation("there is no reject message")
        return self.response

    def perform(self, draft: Draft) -> None:
        """Hand the call over; it is sent when this execution is committed."""
        call = OutgoingCall(
            Principal(draft.callee),
            draft.method.decode(errors="replace"),
            bytes(draft.arg),
            draft.on_reply,
            draft.on_reject,
            draft.on_cleanup,
            draft.cycles,
        )
        self.env.calls.append(call)

    def drop_draft(self) -> None:
        """Drop the call that was begun, if any; its cycles go back into the balance."""
        if self.draft is not None:
            self.env.cycles.balance += self.draft.cycles
            self.draft = None

    # --- inside ---

    def _attach(self, stored: SparseFile) -> None:
        memory = _checked(self._exports[MEMORY], wasmtime.Memory)
        size = memory.data_len(self._store)
        if stored.size > size:
            memory.grow(self._store, (stored.size - size) // WASM_PAGE)
        elif stored.size:
            stored.grow(size)
        self._memory = memory
        self._address = ctypes.addressof(memory.data_ptr(self._store).contents)
        self._attached = attach(stored, self._address)
        self._view = view(self._address, memory.data_len(self._store))

    def _refresh_view(self, end: int) -> None:
        """Make the view as long as the memory, which may have grown since. Raises OutOfBounds."""
        if self._memory is not None:
            self._view.release()
            self._view = view(self._address, self._memory.data_len(self._store))
        if end > len(self._view):
            raise OutOfBounds("heap out of bounds")

    def _call(self, function: object, *arguments: int) -> object:
        if not isinstance(function, wasmtime.Func):
            raise WasmTrap("what is called is not a function")
        # The engine's functions belong to the module, not to the store: this says which execution they act for.
        outer, self._module.current = self._module.current, self
        try:
            return function(self._store, *arguments)
        except wasmtime.Trap as trap:
            if trap.trap_code == TrapCode.OUT_OF_FUEL:
                raise InstructionLimit(str(self._limit)) from trap
            raise WasmTrap(TRAP_TEXTS.get(trap.trap_code, trap.message)) from trap  # type: ignore[arg-type]
        except wasmtime.WasmtimeError as error:
            raise WasmTrap(str(error)) from error
        finally:
            self._module.current = outer


def _checked(exported: object, kind: type[T]) -> T:
    if not isinstance(exported, kind):
        raise TypeError(f"{exported} is not a {kind.__name__}")
    return exported
