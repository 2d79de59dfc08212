"""The methods of the management canister: who may call them, and how calls are rejected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import CandidError
from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import CallContext
from appliance.localnet.canisters.chunk_store import ChunkStoreError
from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.canisters.settings import is_open_to
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Rejection

MAX_CONTROLLERS = 10
EFFECTIVE_ID_FIELDS = {
    "install_chunked_code": "target_canister",
    "create_canister": None,
    "provisional_create_canister_with_cycles": None,
    "raw_rand": None,
    "list_canisters": None,
}
"""The field with the effective canister id, where it is not ``canister_id``; None for methods without one."""

FOR_EVERYBODY = frozenset({"provisional_top_up_canister", "canister_metadata"})
"""Methods about a canister that any user may call, not only its controllers."""

VISIBLE = {
    "canister_status": "status_visibility",
    "list_canister_snapshots": "snapshot_visibility",
}
"""The setting that opens a method to other callers than the controllers."""

CANISTERS_ONLY = frozenset({"deposit_cycles", "raw_rand", "canister_info", "fetch_canister_logs"})
QUERIES_ONLY = frozenset({"list_canisters"})
QUERIES = QUERIES_ONLY | {"canister_status", "canister_metadata", "canister_metrics", "fetch_canister_logs"}


class CallRejected(Exception):
    """The call is rejected, with the replica's error code, whose hundreds are the reject code."""

    def __init__(self, error_code: str, text: str) -> None:
        super().__init__(text)
        self.rejection = Rejection(int(error_code[3]), text, error_code)


@dataclass(frozen=True)
class ChangeOrigin:
    """The caller that changes a canister, a user or a canister ("change origin" of the canister history)."""

    principal: Principal
    is_user: bool = True


def decode(method: str, arg: bytes) -> dict[str, Any]:
    """The record that a method takes. Raises CallRejected."""
    if method in NOT_OFFERED:
        text = f"this local network does not offer the method '{method}' of the management canister"
        raise CallRejected("IC0406", text)
    if method not in METHODS:
        raise CallRejected("IC0536", f"Management canister has no method '{method}'")
    try:
        values: tuple[Any, ...] = METHODS[method].arguments.decode(arg)
    except CandidError as error:
        raise CallRejected("IC0408", f"Error decoding candid: {error.problem}") from error
    return values[0] if values else {}


def subject(args: dict[str, Any], field: str) -> Principal:
    """The effective canister id."""
    return Principal(args[field])


def find(canisters: CanisterRecords, canister_id: Principal) -> CanisterRecord:
    """The record of a canister. Raises CallRejected where there is none."""
    record = canisters.get(canister_id)
    if record is None:
        raise CallRejected("IC0301", f"Canister {canister_id} not found.")
    return record


def controlled(canisters: CanisterRecords, canister_id: Principal, caller: Principal) -> CanisterRecord:
    """The record of a canister that the caller controls. Raises CallRejected."""
    record = find(canisters, canister_id)
    if caller not in record.controllers:
        controllers = " ".join(map(str, sorted(record.controllers)))
        text = f"Only the controllers of the canister {canister_id} can control it."
        raise CallRejected("IC0512", f"{text}\nCanister's controllers: {controllers}\nSender's ID: {caller}")
    return record


def controlled_or_self(canisters: CanisterRecords, canister_id: Principal, caller: Principal) -> CanisterRecord:
    """The same, or the record of the caller itself. Raises CallRejected."""
    record = find(canisters, canister_id)
    return record if record.canister_id == caller else controlled(canisters, canister_id, caller)


def visible(canisters: CanisterRecords, canister_id: Principal, caller: Principal, method: str) -> CanisterRecord:
    """The same, or that of a canister whose settings open the method to the caller. Raises CallRejected."""
    record = find(canisters, canister_id)
    return record if is_visible(record, caller, method) else controlled_or_self(canisters, canister_id, caller)


def is_visible(record: CanisterRecord, caller: Principal, method: str) -> bool:
    """Whether the settings of the canister open the method to a caller that does not control it."""
    setting = VISIBLE.get(method)
    return setting is not None and is_open_to(getattr(record.settings, setting), caller)


def admit_user(record: CanisterRecord, sender: Principal, method: str) -> None:
    """Check a user's call about a canister. Raises CallRejected for those who may not call the method."""
    if method in FOR_EVERYBODY or sender in record.controllers or is_visible(record, sender, method):
        return
    text = f"Only controllers of canister {record.canister_id} can call ic00 method {method}"
    raise CallRejected("IC0512", text)


def change_origin_of(context: CallContext) -> ChangeOrigin:
    """The caller as an origin of changes."""
    return ChangeOrigin(context.caller, is_user=isinstance(context.origin, Call))


def add_to_history(record: CanisterRecord, origin: ChangeOrigin, details: dict[str, object], *, time_ns: int) -> None:
    """Add a change to the history of a canister, with the version that it has now."""
    record.history.add(
        details, origin.principal, is_user=origin.is_user, time_ns=time_ns, canister_version=record.version
    )


def check_controllers(controllers: list[Principal]) -> None:
    """Raises CallRejected where there are too many."""
    if len(set(controllers)) > MAX_CONTROLLERS:
        text = f"{len(set(controllers))} controllers, at most {MAX_CONTROLLERS} are allowed"
        raise CallRejected("IC0408", f"Error decoding candid: {text}")


def from_chunk_store(use: Callable[[], bytes]) -> bytes:
    """Call ``use``, with errors of the chunk store raised as CallRejected."""
    try:
        return use()
    except ChunkStoreError as problem:
        raise CallRejected("IC0504", f"Error from Wasm chunk store: {problem}") from problem
