"""The management canister ``aaaaa-aa`` (interface specification, "The IC management canister"; IC-PROTOCOL A.6, A.9).

Users and canisters call it. Texts and codes of refusals are the replica's.
"""

import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from appliance.crypto import Request
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.calls import CallContext
from appliance.localnet.canisters.chunk_store import ChunkStore
from appliance.localnet.canisters.management_types import METHODS
from appliance.localnet.canisters.record import START_CYCLES, Slot
from appliance.localnet.management.rules import (
    FOR_CANISTERS,
    OPEN,
    QUERIES,
    SUBJECTS,
    Author,
    Refusal,
    author_of,
    check_controllers,
    decode,
    stored,
    subject,
)
from appliance.localnet.replica.executor import attempt
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import is_hosted
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.wasm.loader import wasm_canister

Answer: TypeAlias = Callable[[Outcome], None]


class ManagementCanister:
    """Fills `Management` for a replica. Compiled modules are kept in the folder ``cache``, where it is given."""

    def __init__(self, replica: Replica, *, cache: Path | None = None) -> None:
        self._replica = replica
        self._slots = replica.slots
        self._cache = cache

    # --- what the replica asks ---

    def effective_id(self, method: str, arg: bytes) -> Principal | None:
        """The canister that a call is about (effective canister id); None where there is none or it cannot be read."""
        field = SUBJECTS.get(method, "canister_id")
        if method not in METHODS or field is None:
            return None
        try:
            return subject(decode(method, arg), field)
        except Refusal:
            return None

    def admit(self, request: Request) -> Rejection | None:
        """Whether a user's call is taken: None, or why not."""
        method, sender = request.method_name, Principal(request.sender)
        if method in FOR_CANISTERS:
            return Refusal("IC0406", f"Only canisters can call ic00 method {method}").rejection
        try:
            args = decode(method, request.arg)
            field = SUBJECTS.get(method, "canister_id")
            if field is None:
                return None
            slot = self._slot(subject(args, field))
            if method not in OPEN:
                self._admit_controller(slot, sender, method)
        except Refusal as refusal:
            return refusal.rejection
        return None

    def execute(self, context: CallContext, method: str, arg: bytes, answer: Answer) -> None:
        """Execute a method. ``answer`` is called once: now, or for ``stop_canister`` when the canister has stopped."""
        try:
            args = decode(method, arg)
            if method == "stop_canister":
                self._stop(context, args, answer)
            else:
                answer(self._reply(method, getattr(self, f"_{method}")(context, args)))
        except Refusal as refusal:
            answer(refusal.rejection)

    def query(self, method: str, arg: bytes, caller: Principal) -> Outcome:
        """Execute what can be asked without a call."""
        try:
            return self._query(method, decode(method, arg), caller)
        except Refusal as refusal:
            return refusal.rejection

    def _query(self, method: str, args: dict[str, Any], caller: Principal) -> Outcome:
        if method not in QUERIES:
            raise Refusal("IC0406", f"Query method {method} is not supported by the management canister")
        if method == "canister_status":
            return self._reply(method, self._canister_status(CallContext(MANAGEMENT_CANISTER, caller, None), args))
        return self._reply(method, self._logs(caller, args))

    # --- what can be done from here, too ---

    def create(
        self,
        author: Author,
        *,
        cycles: int = START_CYCLES,
        specified_id: Principal | None = None,
        settings: dict[str, Any] | None = None,
        controllers: Iterable[Principal] | None = None,
    ) -> Slot:
        """Make an empty canister, of the author where no controllers are named. Raises Refusal."""
        named = controllers if settings is None or settings["controllers"] is None else settings["controllers"]
        owners = [author.principal] if named is None else list(named)
        check_controllers(owners)
        if specified_id is not None and not is_hosted(specified_id):
            text = f"Unsuccessful validation of specified ID: {specified_id} is not in the ranges of this subnet"
            raise Refusal("IC0405", text)
        if specified_id is not None and specified_id in self._slots:
            raise Refusal("IC0205", f"Unsuccessful canister creation: canister id {specified_id} already exists.")
        slot = self._slots[self._replica.create_canister(specified_id=specified_id, controllers=owners)]
        slot.cycles = cycles
        if settings is not None:
            self._set(slot, settings)
        self._note(slot, author, {"creation": {"controllers": owners}})
        return slot

    def install(self, author: Author, slot: Slot, mode: dict[str, Any], module: bytes, arg: bytes) -> None:
        """Give a canister code, in a mode as ``install_code`` has it. Raises Refusal."""
        ((name, options),) = mode.items()
        if name == "install" and slot.canister is not None:
            text = (
                "cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
            )
            raise Refusal("IC0514", f"Canister {slot.canister_id} {text}")
        if name == "upgrade" and slot.canister is None:
            text = "Attempted to upgrade a canister that contains no Wasm module."
            raise Refusal("IC0537", f"Error from Canister {slot.canister_id}: {text}")
        env = self._slots.environment(slot, author.principal, self._replica.state.next_time())
        deploy = self._upgrade if name == "upgrade" else self._reinstall
        problem = attempt(slot, env, lambda: deploy(author, slot, options or {}, module, arg))
        if problem is not None:
            raise Refusal(problem.error_code, problem.message)
        code = slot.canister.module_hash if slot.canister is not None else b""
        self._note(slot, author, {"code_deployment": {"mode": {name: None}, "module_hash": code}})

    def _upgrade(self, author: Author, slot: Slot, options: dict[str, Any], module: bytes, arg: bytes) -> None:
        persistence = options.get("wasm_memory_persistence")
        self._replica.upgrade_canister(
            slot.canister_id,
            module,
            arg=arg,
            caller=author.principal,
            skip_pre_upgrade=bool(options.get("skip_pre_upgrade")),
            keep_memory=None if persistence is None else "keep" in persistence,
        )

    def _reinstall(self, author: Author, slot: Slot, _options: dict[str, Any], module: bytes, arg: bytes) -> None:
        canister = wasm_canister(module, cache=self._cache)
        self._replica.reinstall_canister(slot.canister_id, canister, arg=arg, caller=author.principal)

    # --- methods ---

    def _create_canister(self, context: CallContext, args: dict[str, Any]) -> object:
        author = author_of(context)
        slot = self.create(author, settings=args["settings"])
        if not author.is_user:
            slot.cycles, context.cycles_available = context.cycles_available, 0
        return {"canister_id": slot.canister_id}

    def _provisional_create_canister_with_cycles(self, context: CallContext, args: dict[str, Any]) -> object:
        cycles = START_CYCLES if args["amount"] is None else args["amount"]
        slot = self.create(
            author_of(context), cycles=cycles, specified_id=args["specified_id"], settings=args["settings"]
        )
        return {"canister_id": slot.canister_id}

    def _provisional_top_up_canister(self, _: CallContext, args: dict[str, Any]) -> None:
        slot = self._slot(args["canister_id"])
        slot.cycles += args["amount"]
        slot.version += 1

    def _deposit_cycles(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._slot(args["canister_id"])
        slot.cycles += context.cycles_available
        slot.version += 1
        context.cycles_available = 0

    def _update_settings(self, context: CallContext, args: dict[str, Any]) -> None:
        slot, settings = self._controlled(context, args["canister_id"]), args["settings"]
        controllers = settings["controllers"]
        if controllers is not None:
            check_controllers(controllers)
            self._replica.set_controllers(slot.canister_id, controllers)
            self._note(slot, author_of(context), {"controllers_change": {"controllers": controllers}})
        self._set(slot, settings)

    def _install_code(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._controlled(context, args["canister_id"])
        self.install(author_of(context), slot, args["mode"], args["wasm_module"], args["arg"])

    def _install_chunked_code(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._controlled(context, args["target_canister"])
        store = self._own(context, args["store_canister"] or args["target_canister"])
        hashes = [chunk["hash"] for chunk in args["chunk_hashes_list"]]
        module = stored(lambda: store.chunks.assemble(hashes, args["wasm_module_hash"]))
        self.install(author_of(context), slot, args["mode"], module, args["arg"])

    def _upload_chunk(self, context: CallContext, args: dict[str, Any]) -> object:
        slot = self._own(context, args["canister_id"])
        digest = stored(lambda: slot.chunks.put(args["chunk"]))
        slot.version += 1
        return {"hash": digest}

    def _stored_chunks(self, context: CallContext, args: dict[str, Any]) -> object:
        return [{"hash": digest} for digest in self._own(context, args["canister_id"]).chunks]

    def _clear_chunk_store(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._own(context, args["canister_id"])
        slot.chunks = ChunkStore()
        slot.version += 1

    def _uninstall_code(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._controlled(context, args["canister_id"])
        slot.chunks = ChunkStore()
        self._replica.uninstall_canister(slot.canister_id)
        self._note(slot, author_of(context), {"code_uninstall": None})

    def _start_canister(self, context: CallContext, args: dict[str, Any]) -> None:
        self._replica.start_canister(self._controlled(context, args["canister_id"]).canister_id)

    def _stop(self, context: CallContext, args: dict[str, Any], answer: Answer) -> None:
        slot = self._controlled(context, args["canister_id"])
        text = f"Canister {slot.canister_id}'s stop request was cancelled."
        done, cancelled = self._reply("stop_canister", None), Refusal("IC0511", text).rejection
        self._replica.stop_canister(slot.canister_id, lambda is_stopped: answer(done if is_stopped else cancelled))

    def _delete_canister(self, context: CallContext, args: dict[str, Any]) -> None:
        slot = self._controlled(context, args["canister_id"])
        if slot.canister_id == context.caller:
            raise Refusal("IC0512", f"Canister {slot.canister_id} cannot delete itself.")
        if slot.status != "stopped":
            raise Refusal("IC0510", f"Canister {slot.canister_id} must be stopped before it is deleted.")
        self._replica.delete_canister(slot.canister_id)

    def _raw_rand(self, _: CallContext, _args: object) -> object:
        return secrets.token_bytes(32)

    def _canister_status(self, context: CallContext, args: dict[str, Any]) -> object:
        slot = self._own(context, args["canister_id"])
        code = slot.canister
        wasm, stable = slot.actor.memory_sizes if slot.actor is not None else (0, 0)
        sizes = {
            "wasm_memory_size": wasm,
            "stable_memory_size": stable,
            "wasm_chunk_store_size": slot.chunks.size,
            **dict.fromkeys(("global_memory_size", "wasm_binary_size", "custom_sections_size"), 0),
            **dict.fromkeys(("canister_history_size", "snapshots_size"), 0),
        }
        counts = ("num_calls_total", "num_instructions_total")
        payloads = ("request_payload_bytes_total", "response_payload_bytes_total")
        return {
            "status": {slot.status: None},
            "ready_for_migration": slot.status == "stopped",
            "version": slot.version,
            "settings": slot.settings.to_candid(slot.controllers, slot.variables),
            "module_hash": None if code is None else code.module_hash,
            "memory_size": sum(sizes.values()),
            "memory_metrics": sizes,
            "cycles": slot.cycles,
            "reserved_cycles": 0,
            "idle_cycles_burned_per_day": 0,
            "query_stats": dict.fromkeys((*counts, *payloads), 0),
        }

    def _canister_info(self, _: CallContext, args: dict[str, Any]) -> object:
        slot = self._slot(args["canister_id"])
        return {
            "total_num_changes": slot.history.total,
            "recent_changes": slot.history.recent(args["num_requested_changes"] or 0),
            "module_hash": None if slot.canister is None else slot.canister.module_hash,
            "controllers": sorted(slot.controllers),
        }

    def _fetch_canister_logs(self, context: CallContext, args: dict[str, Any]) -> object:
        return self._logs(context.caller, args)

    # --- steps ---

    def _logs(self, reader: Principal, args: dict[str, Any]) -> object:
        slot = self._slot(args["canister_id"])
        if reader not in slot.controllers and not slot.settings.is_log_open_to(reader):
            raise Refusal("IC0406", f"Caller {reader} is not allowed to query ic00 method fetch_canister_logs")
        lines = (
            {"idx": line.number, "timestamp_nanos": line.time_ns, "content": line.text.encode()} for line in slot.log
        )
        return {"canister_log_records": list(lines)}

    def _set(self, slot: Slot, settings: dict[str, Any]) -> None:
        slot.settings = slot.settings.changed(settings)
        variables = settings["environment_variables"]
        if variables is not None:
            slot.variables = {variable["name"]: variable["value"] for variable in variables}
        slot.version += 1

    def _note(self, slot: Slot, author: Author, details: dict[str, object]) -> None:
        time_ns = self._replica.state.next_time()
        slot.history.add(
            details, author.principal, is_user=author.is_user, time_ns=time_ns, canister_version=slot.version
        )

    def _slot(self, canister_id: Principal) -> Slot:
        slot = self._slots.get(canister_id)
        if slot is None:
            raise Refusal("IC0301", f"Canister {canister_id} not found.")
        return slot

    def _own(self, context: CallContext, canister_id: Principal) -> Slot:
        """The canister, where its controller calls or it calls itself."""
        slot = self._slot(canister_id)
        return slot if slot.canister_id == context.caller else self._controlled(context, canister_id)

    def _controlled(self, context: CallContext, canister_id: Principal) -> Slot:
        slot = self._slot(canister_id)
        if context.caller not in slot.controllers:
            controllers = " ".join(map(str, sorted(slot.controllers)))
            text = f"Only the controllers of the canister {canister_id} can control it."
            raise Refusal("IC0512", f"{text}\nCanister's controllers: {controllers}\nSender's ID: {context.caller}")
        return slot

    @staticmethod
    def _admit_controller(slot: Slot, sender: Principal, method: str) -> None:
        if sender not in slot.controllers:
            raise Refusal("IC0512", f"Only controllers of canister {slot.canister_id} can call ic00 method {method}")

    @staticmethod
    def _reply(method: str, result: object) -> Reply:
        results = METHODS[method].results
        return Reply(results.encode(result) if len(results) else results.encode())
