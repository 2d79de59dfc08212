"""What the management canister shows of canisters: status, history, metadata, metrics, log. Nothing is changed."""

from collections.abc import Iterable
from typing import Any

from appliance.ic.principal import Principal
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.management.rules import CallRejected

QUERY_STATS = (
    *("num_calls_total", "num_instructions_total"),
    *("request_payload_bytes_total", "response_payload_bytes_total"),
)
CONSUMPTION = (
    *("memory", "compute_allocation", "ingress_induction", "instructions", "request_and_response_transmission"),
    *("uninstall", "canister_creation", "http_outcalls", "burned_cycles"),
)


def status_of(record: CanisterRecord) -> dict[str, object]:
    """The result of ``canister_status``. What is not measured on a local network is 0."""
    sizes = _memory_metrics(record)
    return {
        "status": {record.status: None},
        "ready_for_migration": record.status == "stopped",
        "version": record.version,
        "settings": record.settings.to_candid(record.controllers, record.variables),
        "module_hash": None if record.canister is None else record.canister.module_hash,
        "memory_size": sum(sizes.values()),
        "memory_metrics": sizes,
        "cycles": record.cycles,
        "reserved_cycles": 0,
        "idle_cycles_burned_per_day": 0,
        "query_stats": dict.fromkeys(QUERY_STATS, 0),
    }


def info_of(record: CanisterRecord, wanted_changes: int) -> dict[str, object]:
    """The result of ``canister_info``."""
    return {
        "total_num_changes": record.history.total,
        "recent_changes": record.history.recent(wanted_changes),
        "module_hash": None if record.canister is None else record.canister.module_hash,
        "controllers": sorted(record.controllers),
    }


def metadata_of(record: CanisterRecord, name: str, reader: Principal) -> dict[str, object]:
    """The result of ``canister_metadata``. Raises CallRejected for a section that the reader may not see, with the same
    words as for a missing one: who may not read it does not learn that it exists."""
    public = {} if record.canister is None else record.canister.metadata
    private = record.actor.private_metadata if record.actor is not None and reader in record.controllers else {}
    value = public.get(name, private.get(name))
    if value is None:
        raise CallRejected("IC0406", f"Canister {record.canister_id} has no metadata section {name}")
    return {"value": value}


def metrics_of(_: CanisterRecord) -> dict[str, object]:
    """The result of ``canister_metrics``: zeros, because cycles are not charged on a local network."""
    return {"cycles_consumed": dict.fromkeys(CONSUMPTION, 0)}


def log_of(record: CanisterRecord, choice: dict[str, Any] | None) -> dict[str, object]:
    """The result of ``fetch_canister_logs``: the lines within the range of the filter, both ends included."""
    kind, span = next(iter(choice.items())) if choice else ("by_idx", {"start": 0, "end": record.log_number})
    lines = [
        {"idx": line.number, "timestamp_nanos": line.time_ns, "content": line.text.encode()}
        for line in record.log
        if span["start"] <= (line.number if kind == "by_idx" else line.time_ns) <= span["end"]
    ]
    return {"canister_log_records": lines}


def ranges_of(canisters: Iterable[Principal]) -> list[dict[str, Principal]]:
    """The ids as closed ranges of consecutive numbers, the result of ``list_canisters``."""
    ranges: list[dict[str, Principal]] = []
    for canister in sorted(canisters):
        if ranges and _number(canister) == _number(ranges[-1]["end"]) + 1:
            ranges[-1]["end"] = canister
        else:
            ranges.append({"start": canister, "end": canister})
    return ranges


def _number(canister: Principal) -> int:
    return int.from_bytes(canister[:8], "big")


def _memory_metrics(record: CanisterRecord) -> dict[str, int]:
    wasm, stable = record.actor.memory_sizes if record.actor is not None else (0, 0)
    return {
        "wasm_memory_size": wasm,
        "stable_memory_size": stable,
        "wasm_chunk_store_size": record.chunks.size,
        "snapshots_size": sum(snapshot.size for snapshot in record.snapshots.values()),
        "log_memory_store_size": sum(len(line.text.encode()) for line in record.log),
        **dict.fromkeys(("global_memory_size", "wasm_binary_size", "custom_sections_size", "canister_history_size"), 0),
    }
