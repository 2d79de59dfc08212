"""A canister in a folder: what its record holds, its module, memories and chunks."""

import json
from pathlib import Path
from typing import Any

from appliance.errors import CandidError, Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.chunk_store import ChunkStoreError
from appliance.localnet.canisters.record import CanisterHistory, CanisterRecord, LogLine
from appliance.localnet.canisters.settings import Settings
from appliance.localnet.replica.replica import Replica
from appliance.localnet.wasm.loader import WasmtimeMissing, load_wasm_canister

RECORD_FILE = "canister.json"
CHUNK = "chunk-"


class CanisterUnreadable(Exception):
    """A canister that cannot be read back; the text says what is wrong."""


def is_saved(record: CanisterRecord) -> bool:
    """Whether it can be kept: an empty canister or one of Wasm; one in Python lives in its program."""
    return record.canister is None or record.actor is not None


def write(record: CanisterRecord, certified_data: bytes, folder: Path) -> None:
    """Write a canister into a folder, which must exist. Calls in execution are not kept. Raises OSError."""
    if record.actor is not None:
        record.actor.save(folder)
    for digest in record.chunks:
        (folder / f"{CHUNK}{digest.hex()}").write_bytes(record.chunks.get(digest))
    facts = {
        "has_code": record.actor is not None,
        "controllers": [str(controller) for controller in sorted(record.controllers)],
        "status": "running" if record.status == "running" else "stopped",
        "version": record.version,
        "cycles": record.cycles,
        "timer_ns": record.timer_ns,
        "variables": record.variables,
        "name": record.name,
        "settings": record.settings.encode().hex(),
        "changes": record.history.encode().hex(),
        "change_count": record.history.total,
        "log": [[line.number, line.time_ns, line.text] for line in record.log],
        "log_number": record.log_number,
        "certified_data": certified_data.hex(),
    }
    (folder / RECORD_FILE).write_text(json.dumps(facts))


def restore(replica: Replica, canister_id: Principal, folder: Path, *, cache: Path | None) -> None:
    """Put a canister back as it was written. Raises CanisterUnreadable, and WasmtimeMissing where it is one of Wasm."""
    try:
        facts = json.loads((folder / RECORD_FILE).read_text())
        record = _slot(canister_id, facts, folder)
        if facts["has_code"]:
            record.canister = load_wasm_canister(folder, cache=cache)
        replica.restore_canister(record, certified_data=bytes.fromhex(facts["certified_data"]))
    except WasmtimeMissing:
        raise
    except (OSError, ValueError, KeyError, TypeError, CandidError, Malformed, ChunkStoreError, ExecutionError) as error:
        raise CanisterUnreadable(f"canister {canister_id} cannot be read: {type(error).__name__}: {error}") from error


def _slot(canister_id: Principal, facts: dict[str, Any], folder: Path) -> CanisterRecord:
    record = CanisterRecord(
        canister_id,
        controllers=frozenset(map(Principal.from_text, facts["controllers"])),
        status=facts["status"],
        version=facts["version"],
        cycles=facts["cycles"],
        timer_ns=facts["timer_ns"],
        variables=facts["variables"],
        name=facts["name"],
        settings=Settings.decode(bytes.fromhex(facts["settings"])),
        history=CanisterHistory.decode(bytes.fromhex(facts["changes"]), facts["change_count"]),
    )
    record.restore_log((LogLine(*line) for line in facts["log"]), next_number=facts["log_number"])
    for chunk in sorted(folder.glob(f"{CHUNK}*")):
        record.chunks.put(chunk.read_bytes())
    return record
