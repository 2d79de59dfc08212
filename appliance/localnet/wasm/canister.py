"""Canisters of Wasm (IC interface specification, "System API")."""

from collections.abc import Mapping
from contextlib import closing
from copy import copy
from pathlib import Path

from appliance.localnet.canisters.calls import Closure, OutgoingCall
from appliance.localnet.canisters.canister import Environment, ExecutionError, MethodNotFound
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.wasm.binary import START
from appliance.localnet.wasm.execution import ONE_WAY, Execution, WasmTrap
from appliance.localnet.wasm.module import Module
from appliance.localnet.wasm.state import WasmState
from appliance.localnet.wasm.system_api import Kind

MODULE_FILE = "module.wasm"
CALLBACKS = (Kind.REPLY, Kind.REJECT)
COMPOSITE_CALLBACKS = (Kind.COMPOSITE_REPLY, Kind.COMPOSITE_REJECT)


class WasmCanister:
    """Implements `Actor`. Takes the bytes of a module, gzipped or not, and the folder where compiled modules are kept.

    Raises InvalidModule, an ExecutionError, for bytes that are not a canister's module.
    """

    def __init__(self, module: bytes, *, cache: Path | None = None) -> None:
        self._cache = cache
        self._module = Module(module, cache=cache)
        self.module = module
        self.state = WasmState()

    def save(self, folder: Path) -> None:
        """Write module and state into a folder, which must exist. Raises OSError."""
        (folder / MODULE_FILE).write_bytes(self.module)
        self.state.save(folder)

    @staticmethod
    def load(folder: Path, *, cache: Path | None = None) -> "WasmCanister":
        """The canister that was saved, as it was. Raises OSError, ValueError, InvalidModule."""
        canister = WasmCanister((folder / MODULE_FILE).read_bytes(), cache=cache)
        canister.state = WasmState.load(folder)
        return canister

    def snapshot(self) -> "WasmCanister":
        """The same module on a copy of the state."""
        snapshot = copy(self)
        snapshot.state = self.state.fork()
        return snapshot

    @property
    def module_hash(self) -> bytes:
        """SHA-256 of the module as it was uploaded."""
        return self._module.hash

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """The public custom sections."""
        return self._module.metadata

    @property
    def private_metadata(self) -> Mapping[str, bytes]:
        """The custom sections for controllers."""
        return self._module.private_metadata

    @property
    def exported_interface(self) -> str:
        """The Candid interface that ``get_candid_pointer`` returns, or empty."""
        return self._module.exported_interface

    @property
    def has_heartbeat(self) -> bool:
        """Whether the module exports one."""
        return "canister_heartbeat" in self._module.exports

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Bytes of main and of stable memory."""
        return self.state.memory.size, self.state.stable.size

    def install(self, arg: bytes, env: Environment) -> None:
        """Run the start function and ``canister_init`` with nothing in the memories."""
        state = WasmState()
        self._begin(self._module, state, env, arg, "canister_init")
        self.state = state

    def upgrade(
        self,
        module: bytes,
        arg: bytes,
        env: Environment,
        *,
        skip_pre_upgrade: bool = False,
        keep_memory: bool | None = None,
    ) -> None:
        """Run ``canister_pre_upgrade``, then the new module's start function and ``canister_post_upgrade``."""
        new = Module(module, cache=self._cache)
        _check_persistence(self._module, new, keep_memory)
        # On a copy: the hooks commit one after the other, and the last may still trap.
        state = self.state.fork()
        if "canister_pre_upgrade" in self._module.exports and not skip_pre_upgrade:
            with closing(Execution(self._module, state, Kind.PRE_UPGRADE, env)) as execution:
                execution.run("canister_pre_upgrade")
                execution.commit(state)
        upgraded = WasmState(stable=state.stable)
        if keep_memory:
            upgraded.memory = state.memory
        env.set_timer(0)
        self._begin(new, upgraded, env, arg, "canister_post_upgrade")
        self._module, self.module, self.state = new, module, upgraded

    def inspect(self, method: str, arg: bytes, env: Environment) -> bool:
        """Run ``canister_inspect_message``; without it every call is accepted."""
        if "canister_inspect_message" not in self._module.exports:
            return True
        with closing(Execution(self._module, self.state, Kind.INSPECT, env, arg=arg, method=method)) as execution:
            execution.run("canister_inspect_message")
            return execution.is_accepted

    def update(self, method: str, arg: bytes, env: Environment) -> None:
        """Run an update method, or a query method whose changes are dropped; the answer is in the environment."""
        if f"canister_update {method}" in self._module.exports:
            self._message(Kind.UPDATE, f"canister_update {method}", env, arg=arg)
        elif f"canister_query {method}" in self._module.exports:
            self._message(Kind.REPLICATED_QUERY, f"canister_query {method}", env, arg=arg, keep=False)
        else:
            raise MethodNotFound("update", method)

    def query(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Run a query method that makes no calls."""
        self.open_query().start(method, arg, env)
        match env.answer:
            case Reply(reply) if not env.calls:
                return reply
            case Rejection(_, text, _):
                raise ExecutionError(text)
            case _:
                raise ExecutionError("Canister did not reply to the call")

    def on_timer(self, env: Environment) -> None:
        """Run ``canister_global_timer``."""
        self._task("canister_global_timer", env)

    def on_heartbeat(self, env: Environment) -> None:
        """Run ``canister_heartbeat``."""
        self._task("canister_heartbeat", env)

    def on_response(self, call: OutgoingCall, outcome: Outcome, env: Environment) -> None:
        """Run the reply or reject callback."""
        closure, kind = _callback(call, outcome, CALLBACKS)
        if closure.function < ONE_WAY:
            _respond(Execution(self._module, self.state, kind, env), self.state, closure, outcome)

    def clean_up(self, closure: Closure, env: Environment) -> None:
        """Run the cleanup callback."""
        _clean_up(Execution(self._module, self.state, Kind.CLEANUP, env), self.state, closure)

    def open_query(self) -> "WasmQuery":
        """A query on the state as it is now."""
        return WasmQuery(self._module, self.state)

    def _task(self, export: str, env: Environment) -> None:
        if export in self._module.exports:
            self._message(Kind.TASK, export, env)

    def _message(self, kind: Kind, export: str, env: Environment, *, arg: bytes = b"", keep: bool = True) -> None:
        with closing(Execution(self._module, self.state, kind, env, arg=arg)) as execution:
            execution.run(export)
            if keep:
                execution.commit(self.state)

    @staticmethod
    def _begin(module: Module, state: WasmState, env: Environment, arg: bytes, export: str) -> None:
        with closing(Execution(module, state, Kind.INIT, env, arg=arg)) as execution:
            if module.has_start:
                execution.kind = Kind.START
                execution.run(START)
                execution.kind = Kind.INIT
            if export in module.exports:
                execution.run(export)
            execution.commit(state)


class WasmQuery:
    """Implements `Query`. Copies the state only where the query makes calls: its callbacks need what it wrote."""

    def __init__(self, module: Module, state: WasmState) -> None:
        self._module = module
        self._state = state

    def start(self, method: str, arg: bytes, env: Environment) -> None:
        """Run a query method."""
        if f"canister_query {method}" in self._module.exports:
            with closing(Execution(self._module, self._state, Kind.QUERY, env, arg=arg)) as execution:
                execution.run(f"canister_query {method}")
        elif f"canister_composite_query {method}" in self._module.exports:
            self._start_composite(method, arg, env)
        else:
            raise MethodNotFound("query", method)

    def on_response(self, call: OutgoingCall, outcome: Outcome, env: Environment) -> None:
        """Run the reply or reject callback."""
        closure, kind = _callback(call, outcome, COMPOSITE_CALLBACKS)
        if closure.function < ONE_WAY:
            _respond(Execution(self._module, self._state, kind, env), self._state, closure, outcome)

    def clean_up(self, closure: Closure, env: Environment) -> None:
        """Run the cleanup callback."""
        _clean_up(Execution(self._module, self._state, Kind.COMPOSITE_CLEANUP, env), self._state, closure)

    def _start_composite(self, method: str, arg: bytes, env: Environment) -> None:
        with closing(Execution(self._module, self._state, Kind.COMPOSITE, env, arg=arg)) as execution:
            execution.run(f"canister_composite_query {method}")
            if env.calls:
                self._state = self._state.fork()
                execution.commit(self._state)


def _callback(call: OutgoingCall, outcome: Outcome, kinds: tuple[Kind, Kind]) -> tuple[Closure, Kind]:
    """The callback for an outcome, and its kind. A one-way call has ``ONE_WAY`` in place of a function."""
    return (call.on_reply, kinds[0]) if isinstance(outcome, Reply) else (call.on_reject, kinds[1])


def _respond(execution: Execution, state: WasmState, closure: Closure, outcome: Outcome) -> None:
    with closing(execution):
        execution.respond_with(outcome)
        execution.run_closure(closure)
        execution.commit(state)


def _clean_up(execution: Execution, state: WasmState, closure: Closure) -> None:
    with closing(execution):
        execution.run_closure(closure)
        execution.commit(state)


def _check_persistence(old: Module, new: Module, keep_memory: bool | None) -> None:
    if keep_memory is None and old.keeps_memory:
        raise WasmTrap(
            "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` "
            "upgrade option."
        )
    if keep_memory and not new.keeps_memory:
        raise WasmTrap("the main memory can be kept by a module with enhanced orthogonal persistence only")
