"""The management canister ``aaaaa-aa`` (interface specification, "The IC management canister").

Users and canisters call it. Texts and codes of rejections are the replica's: agents and dfx parse them.
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
from appliance.localnet.canisters.record import START_CYCLES, CanisterRecord
from appliance.localnet.canisters.settings import is_open_to
from appliance.localnet.management.rules import (
    CANISTERS_ONLY,
    EFFECTIVE_ID_FIELDS,
    QUERIES,
    QUERIES_ONLY,
    CallRejected,
    ChangeOrigin,
    add_to_history,
    admit_user,
    change_origin_of,
    check_controllers,
    controlled,
    controlled_or_self,
    decode,
    find,
    from_chunk_store,
    subject,
    visible,
)
from appliance.localnet.management.snapshots import SnapshotMethods
from appliance.localnet.management.status import info_of, log_of, metadata_of, metrics_of, ranges_of, status_of
from appliance.localnet.replica.executor import attempt
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import is_hosted
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.wasm.loader import new_wasm_canister

Answer: TypeAlias = Callable[[Outcome], None]
Handler: TypeAlias = Callable[[CallContext, dict[str, Any]], object]


class ManagementCanister:
    """Implements `Management` for a replica. Compiled modules are cached in the folder ``cache``, if given."""

    def __init__(self, replica: Replica, *, cache: Path | None = None) -> None:
        self._replica = replica
        self._canisters = replica.canisters
        self._cache = cache
        self._snapshots = SnapshotMethods(replica)

    # --- called by the replica ---

    def effective_id(self, method: str, arg: bytes) -> Principal | None:
        """The effective canister id of a call; None where it has none, or where the argument cannot be decoded."""
        field = EFFECTIVE_ID_FIELDS.get(method, "canister_id")
        if method not in METHODS or field is None:
            return None
        try:
            return subject(decode(method, arg), field)
        except CallRejected:
            return None

    def admit(self, request: Request) -> Rejection | None:
        """None where a user's call is accepted, otherwise the rejection."""
        method, sender = request.method_name, Principal(request.sender)
        if method in CANISTERS_ONLY:
            return CallRejected("IC0406", f"Only canisters can call ic00 method {method}").rejection
        if method in QUERIES_ONLY:
            return CallRejected("IC0406", f"ic00 method {method} is a query and cannot be called").rejection
        try:
            args = decode(method, request.arg)
            field = EFFECTIVE_ID_FIELDS.get(method, "canister_id")
            if field is None:
                return None
            admit_user(find(self._canisters, subject(args, field)), sender, method)
        except CallRejected as rejected:
            return rejected.rejection
        return None

    def execute(self, context: CallContext, method: str, arg: bytes, answer: Answer) -> None:
        """Execute a method. ``answer`` is called once: now, or for ``stop_canister`` when the canister has stopped."""
        try:
            args = decode(method, arg)
            if method == "stop_canister":
                self._stop(context, args, answer)
            else:
                answer(self._reply(method, self._handler(method)(context, args)))
        except CallRejected as rejected:
            answer(rejected.rejection)

    def query(self, method: str, arg: bytes, caller: Principal) -> Outcome:
        """Execute a query method."""
        try:
            return self._query(method, decode(method, arg), caller)
        except CallRejected as rejected:
            return rejected.rejection

    def _query(self, method: str, args: dict[str, Any], caller: Principal) -> Outcome:
        if method not in QUERIES:
            raise CallRejected("IC0406", f"Query method {method} is not supported by the management canister")
        return self._reply(method, self._handler(method)(CallContext(MANAGEMENT_CANISTER, caller, None), args))

    def _handler(self, method: str) -> Handler:
        """The method that executes a call, here or where snapshots are."""
        handler: Handler = getattr(self._snapshots, method, None) or getattr(self, f"_{method}")
        return handler

    # --- called by the local network, too ---

    def create(
        self,
        origin: ChangeOrigin,
        *,
        cycles: int = START_CYCLES,
        specified_id: Principal | None = None,
        settings: dict[str, Any] | None = None,
        controllers: Iterable[Principal] | None = None,
    ) -> CanisterRecord:
        """Create an empty canister; without ``controllers`` the origin controls it. Raises CallRejected."""
        named = controllers if settings is None or settings["controllers"] is None else settings["controllers"]
        owners = [origin.principal] if named is None else list(named)
        check_controllers(owners)
        if specified_id is not None and not is_hosted(specified_id):
            text = f"Unsuccessful validation of specified ID: {specified_id} is not in the ranges of this subnet"
            raise CallRejected("IC0405", text)
        if specified_id is not None and specified_id in self._canisters:
            raise CallRejected("IC0205", f"Unsuccessful canister creation: canister id {specified_id} already exists.")
        record = self._canisters[self._replica.create_canister(specified_id=specified_id, controllers=owners)]
        record.cycles = cycles
        if settings is not None:
            self._change_settings(record, settings)
        self._add_to_history(record, origin, {"creation": {"controllers": owners, "environment_variables_hash": None}})
        return record

    def install(
        self, origin: ChangeOrigin, record: CanisterRecord, mode: dict[str, Any], module: bytes, arg: bytes
    ) -> None:
        """Install code in a mode of ``install_code``. Raises CallRejected."""
        ((name, options),) = mode.items()
        if name == "install" and record.canister is not None:
            text = (
                "cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
            )
            raise CallRejected("IC0514", f"Canister {record.canister_id} {text}")
        if name == "upgrade" and record.canister is None:
            text = "Attempted to upgrade a canister that contains no Wasm module."
            raise CallRejected("IC0537", f"Error from Canister {record.canister_id}: {text}")
        env = self._canisters.environment(record, origin.principal, self._replica.state.next_time())
        deploy = self._upgrade if name == "upgrade" else self._reinstall
        problem = attempt(record, env, lambda: deploy(origin, record, options or {}, module, arg))
        if problem is not None:
            raise CallRejected(problem.error_code, problem.message)
        code = record.canister.module_hash if record.canister is not None else b""
        self._add_to_history(record, origin, {"code_deployment": {"mode": {name: None}, "module_hash": code}})

    def _upgrade(
        self, origin: ChangeOrigin, record: CanisterRecord, options: dict[str, Any], module: bytes, arg: bytes
    ) -> None:
        persistence = options.get("wasm_memory_persistence")
        self._replica.upgrade_canister(
            record.canister_id,
            module,
            arg=arg,
            caller=origin.principal,
            skip_pre_upgrade=bool(options.get("skip_pre_upgrade")),
            keep_memory=None if persistence is None else "keep" in persistence,
        )

    def _reinstall(
        self, origin: ChangeOrigin, record: CanisterRecord, _options: dict[str, Any], module: bytes, arg: bytes
    ) -> None:
        canister = new_wasm_canister(module, cache=self._cache)
        self._replica.reinstall_canister(record.canister_id, canister, arg=arg, caller=origin.principal)

    # --- methods ---

    def _create_canister(self, context: CallContext, args: dict[str, Any]) -> object:
        origin = change_origin_of(context)
        record = self.create(origin, settings=args["settings"])
        if not origin.is_user:
            record.cycles, context.cycles_available = context.cycles_available, 0
        return {"canister_id": record.canister_id}

    def _provisional_create_canister_with_cycles(self, context: CallContext, args: dict[str, Any]) -> object:
        cycles = START_CYCLES if args["amount"] is None else args["amount"]
        record = self.create(
            change_origin_of(context), cycles=cycles, specified_id=args["specified_id"], settings=args["settings"]
        )
        return {"canister_id": record.canister_id}

    def _provisional_top_up_canister(self, _: CallContext, args: dict[str, Any]) -> None:
        record = find(self._canisters, args["canister_id"])
        record.cycles += args["amount"]
        record.version += 1

    def _deposit_cycles(self, context: CallContext, args: dict[str, Any]) -> None:
        record = find(self._canisters, args["canister_id"])
        record.cycles += context.cycles_available
        record.version += 1
        context.cycles_available = 0

    def _update_settings(self, context: CallContext, args: dict[str, Any]) -> None:
        record, settings = self._controlled(context, args["canister_id"]), args["settings"]
        controllers = settings["controllers"]
        if controllers is not None:
            check_controllers(controllers)
            self._replica.set_controllers(record.canister_id, controllers)
            self._add_to_history(
                record, change_origin_of(context), {"controllers_change": {"controllers": controllers}}
            )
        self._change_settings(record, settings)

    def _install_code(self, context: CallContext, args: dict[str, Any]) -> None:
        record = self._controlled(context, args["canister_id"])
        self.install(change_origin_of(context), record, args["mode"], args["wasm_module"], args["arg"])

    def _install_chunked_code(self, context: CallContext, args: dict[str, Any]) -> None:
        record = self._controlled(context, args["target_canister"])
        store = self._controlled_or_self(context, args["store_canister"] or args["target_canister"])
        hashes = [chunk["hash"] for chunk in args["chunk_hashes_list"]]
        module = from_chunk_store(lambda: store.chunks.assemble(hashes, args["wasm_module_hash"]))
        self.install(change_origin_of(context), record, args["mode"], module, args["arg"])

    def _upload_chunk(self, context: CallContext, args: dict[str, Any]) -> object:
        record = self._controlled_or_self(context, args["canister_id"])
        digest = from_chunk_store(lambda: record.chunks.put(args["chunk"]))
        record.version += 1
        return {"hash": digest}

    def _stored_chunks(self, context: CallContext, args: dict[str, Any]) -> object:
        return [{"hash": digest} for digest in self._controlled_or_self(context, args["canister_id"]).chunks]

    def _clear_chunk_store(self, context: CallContext, args: dict[str, Any]) -> None:
        record = self._controlled_or_self(context, args["canister_id"])
        record.chunks = ChunkStore()
        record.version += 1

    def _uninstall_code(self, context: CallContext, args: dict[str, Any]) -> None:
        record = self._controlled(context, args["canister_id"])
        record.chunks = ChunkStore()
        self._replica.uninstall_canister(record.canister_id)
        self._add_to_history(record, change_origin_of(context), {"code_uninstall": None})

    def _start_canister(self, context: CallContext, args: dict[str, Any]) -> None:
        self._replica.start_canister(self._controlled(context, args["canister_id"]).canister_id)

    def _stop(self, context: CallContext, args: dict[str, Any], answer: Answer) -> None:
        record = self._controlled(context, args["canister_id"])
        text = f"Canister {record.canister_id}'s stop request was cancelled."
        done, cancelled = self._reply("stop_canister", None), CallRejected("IC0511", text).rejection
        self._replica.stop_canister(record.canister_id, lambda is_stopped: answer(done if is_stopped else cancelled))

    def _delete_canister(self, context: CallContext, args: dict[str, Any]) -> None:
        record = self._controlled(context, args["canister_id"])
        if record.canister_id == context.caller:
            raise CallRejected("IC0512", f"Canister {record.canister_id} cannot delete itself.")
        if record.status != "stopped":
            raise CallRejected("IC0510", f"Canister {record.canister_id} must be stopped before it is deleted.")
        self._replica.delete_canister(record.canister_id)

    def _raw_rand(self, _: CallContext, _args: object) -> object:
        return secrets.token_bytes(32)

    def _canister_status(self, context: CallContext, args: dict[str, Any]) -> object:
        return status_of(visible(self._canisters, args["canister_id"], context.caller, "canister_status"))

    def _canister_info(self, _: CallContext, args: dict[str, Any]) -> object:
        return info_of(find(self._canisters, args["canister_id"]), args["num_requested_changes"] or 0)

    def _canister_metadata(self, context: CallContext, args: dict[str, Any]) -> object:
        return metadata_of(find(self._canisters, args["canister_id"]), args["name"], context.caller)

    def _canister_metrics(self, context: CallContext, args: dict[str, Any]) -> object:
        return metrics_of(self._controlled(context, args["canister_id"]))

    def _list_canisters(self, _: CallContext, _args: object) -> object:
        return {"canisters": ranges_of(record.canister_id for record in self._canisters)}

    def _fetch_canister_logs(self, context: CallContext, args: dict[str, Any]) -> object:
        record, reader = find(self._canisters, args["canister_id"]), context.caller
        if reader not in record.controllers and not is_open_to(record.settings.log_visibility, reader):
            raise CallRejected("IC0406", f"Caller {reader} is not allowed to query ic00 method fetch_canister_logs")
        return log_of(record, args["filter"])

    # --- steps ---

    def _change_settings(self, record: CanisterRecord, settings: dict[str, Any]) -> None:
        record.settings = record.settings.changed(settings)
        variables = settings["environment_variables"]
        if variables is not None:
            record.variables = {variable["name"]: variable["value"] for variable in variables}
        record.version += 1

    def _add_to_history(self, record: CanisterRecord, origin: ChangeOrigin, details: dict[str, object]) -> None:
        add_to_history(record, origin, details, time_ns=self._replica.state.next_time())

    def _controlled(self, context: CallContext, canister_id: Principal) -> CanisterRecord:
        return controlled(self._canisters, canister_id, context.caller)

    def _controlled_or_self(self, context: CallContext, canister_id: Principal) -> CanisterRecord:
        return controlled_or_self(self._canisters, canister_id, context.caller)

    @staticmethod
    def _reply(method: str, result: object) -> Reply:
        results = METHODS[method].results
        return Reply(results.encode(result) if len(results) else results.encode())
