"""Snapshots of canisters (interface specification, "take_canister_snapshot" and its neighbours)."""

from typing import Any

from appliance.localnet.canisters.calls import CallContext
from appliance.localnet.canisters.record import SNAPSHOT_LIMIT, CanisterRecord, CanisterSnapshot
from appliance.localnet.management.rules import (
    CallRejected,
    add_to_history,
    change_origin_of,
    controlled,
    controlled_or_self,
    visible,
)
from appliance.localnet.replica.replica import Replica


class SnapshotMethods:
    """The methods of the management canister about snapshots, by their names. They raise CallRejected.

    Snapshots are kept in memory; the state folder does not have them.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._canisters = replica.canisters

    def take_canister_snapshot(self, context: CallContext, args: dict[str, Any]) -> object:
        """Take a snapshot, in place of another where one is named."""
        record = controlled_or_self(self._canisters, args["canister_id"], context.caller)
        replaced: bytes | None = args["replace_snapshot"]
        if replaced is not None:
            _snapshot_of(record, replaced)
        elif len(record.snapshots) >= SNAPSHOT_LIMIT:
            text = f"Canister {record.canister_id} has reached the maximum number of snapshots allowed: "
            raise CallRejected("IC0406", f"{text}{SNAPSHOT_LIMIT}.")
        if args["uninstall_code"] and record.canister_id == context.caller:
            raise CallRejected("IC0406", f"Canister {record.canister_id} cannot uninstall itself with a snapshot.")
        snapshot = self._taken(record)
        if replaced is not None:
            del record.snapshots[replaced]
        record.snapshots[snapshot.snapshot_id] = snapshot
        record.version += 1
        if args["uninstall_code"]:
            self._replica.uninstall_canister(record.canister_id)
        return _described(snapshot)

    def load_canister_snapshot(self, context: CallContext, args: dict[str, Any]) -> None:
        """Put a canister back to a snapshot of its own, or of another canister that the caller controls."""
        record = controlled(self._canisters, args["canister_id"], context.caller)
        source = self._source(record, args["snapshot_id"])
        if source is not record:
            controlled(self._canisters, source.canister_id, context.caller)
        snapshot = _snapshot_of(source, args["snapshot_id"])
        self._replica.load_snapshot(record.canister_id, snapshot)
        details = {
            "from_canister_id": None if source is record else source.canister_id,
            "snapshot_id": snapshot.snapshot_id,
            "canister_version": snapshot.canister_version,
            "taken_at_timestamp": snapshot.taken_ns,
            "source": {"taken_from_canister": None},
        }
        time_ns = self._replica.state.next_time()
        add_to_history(record, change_origin_of(context), {"load_snapshot": details}, time_ns=time_ns)

    def list_canister_snapshots(self, context: CallContext, args: dict[str, Any]) -> object:
        """The snapshots of a canister, the oldest first."""
        record = visible(self._canisters, args["canister_id"], context.caller, "list_canister_snapshots")
        return [_described(snapshot) for snapshot in record.snapshots.values()]

    def delete_canister_snapshot(self, context: CallContext, args: dict[str, Any]) -> None:
        """Forget a snapshot."""
        record = controlled_or_self(self._canisters, args["canister_id"], context.caller)
        del record.snapshots[_snapshot_of(record, args["snapshot_id"]).snapshot_id]
        record.version += 1

    def _taken(self, record: CanisterRecord) -> CanisterSnapshot:
        if record.actor is None:
            text = "Failed to create snapshot for empty canister" if record.canister is None else "it is not of Wasm:"
            raise CallRejected("IC0406", f"{text} {record.canister_id}")
        number, record.snapshot_number = record.snapshot_number, record.snapshot_number + 1
        return CanisterSnapshot(
            # With the id of the canister no two canisters have equal ids, and numbers are not given twice.
            number.to_bytes(8, "big") + record.canister_id,
            self._replica.state.next_time(),
            record.version,
            sum(record.actor.memory_sizes) + record.chunks.size,
            record.actor.snapshot(),
            record.chunks.copy(),
            self._replica.state.get((b"canister", record.canister_id, b"certified_data")) or b"",
            record.timer_ns,
        )

    def _source(self, record: CanisterRecord, snapshot_id: bytes) -> CanisterRecord:
        """The canister that has the snapshot; the one to be loaded where none has it."""
        return next((other for other in self._canisters if snapshot_id in other.snapshots), record)


def _snapshot_of(record: CanisterRecord, snapshot_id: bytes) -> CanisterSnapshot:
    snapshot = record.snapshots.get(snapshot_id)
    if snapshot is None:
        text = f"Could not find the snapshot ID {snapshot_id.hex()} for canister {record.canister_id}"
        raise CallRejected("IC0305", text)
    return snapshot


def _described(snapshot: CanisterSnapshot) -> dict[str, object]:
    return {"id": snapshot.snapshot_id, "taken_at_timestamp": snapshot.taken_ns, "total_size": snapshot.size}
