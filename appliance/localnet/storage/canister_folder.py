"""A canister in a folder: its record, module, memories and chunks."""

import json
from pathlib import Path
from typing import Any

from appliance.errors import CandidError, Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.candid_interface import FoundInterface
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.chunk_store import ChunkStoreError
from appliance.localnet.canisters.record import CanisterHistory, CanisterRecord, LogLine
from appliance.localnet.canisters.settings import Settings
from appliance.localnet.replica.replica import Replica
from appliance.localnet.wasm.loader import WasmtimeMissing, load_wasm_canister

RECORD_FILE = "canister.json"
CHUNK = "chunk-"


class CanisterUnreadable(Exception):
    """A saved canister that cannot be read; the text has the reason."""


def is_saved(record: CanisterRecord) -> bool:
    """Whether the canister is saved: an empty one or one of Wasm. The code of others is in the user's program."""
    return record.canister is None or record.actor is not None


def write(record: CanisterRecord, certified_data: bytes, folder: Path) -> None:
    """Write a canister into a folder, which must exist. Open calls are not saved. Raises OSError."""
    if record.actor is not None:
        record.actor.save(folder)
    for digest in record.chunks:
        (folder / f"{CHUNK}{digest.hex()}").write_bytes(record.chunks.get(digest))
    fields = {
        "has_code": record.actor is not None,
        "controllers": [str(controller) for controller in sorted(record.controllers)],
        # A stopping canister waits for open calls, which are not saved: restored as stopping it would never stop.
        "status": "running" if record.status == "running" else "stopped",
        "version": record.version,
        "cycles": record.cycles,
        "timer_ns": record.timer_ns,
        "variables": record.variables,
        "name": record.name,
        "beside": list(record.beside),
        "settings": record.settings.encode().hex(),
        "changes": record.history.encode().hex(),
        "change_count": record.history.total,
        "log": [[line.number, line.time_ns, line.text] for line in record.log],
        "log_number": record.log_number,
        "certified_data": certified_data.hex(),
    }
    (folder / RECORD_FILE).write_text(json.dumps(fields))


def restore(replica: Replica, canister_id: Principal, folder: Path, *, cache: Path | None) -> None:
    """Restore a canister that `write` saved. Raises CanisterUnreadable, and WasmtimeMissing for one of Wasm."""
    try:
        fields = json.loads((folder / RECORD_FILE).read_text())
        record = _record_of(canister_id, fields, folder)
        if fields["has_code"]:
            record.canister = load_wasm_canister(folder, cache=cache)
        replica.restore_canister(record, certified_data=bytes.fromhex(fields["certified_data"]))
    except WasmtimeMissing:
        raise
    except (OSError, ValueError, KeyError, TypeError, CandidError, Malformed, ChunkStoreError, ExecutionError) as error:
        raise CanisterUnreadable(f"canister {canister_id} cannot be read: {type(error).__name__}: {error}") from error


def _record_of(canister_id: Principal, fields: dict[str, Any], folder: Path) -> CanisterRecord:
    record = CanisterRecord(
        canister_id,
        controllers=frozenset(map(Principal.from_text, fields["controllers"])),
        status=fields["status"],
        version=fields["version"],
        cycles=fields["cycles"],
        timer_ns=fields["timer_ns"],
        variables=fields["variables"],
        name=fields["name"],
        beside=FoundInterface(*fields.get("beside", ())),  # states of earlier versions have none
        settings=Settings.decode(bytes.fromhex(fields["settings"])),
        history=CanisterHistory.decode(bytes.fromhex(fields["changes"]), fields["change_count"]),
    )
    record.restore_log((LogLine(*line) for line in fields["log"]), next_number=fields["log_number"])
    for chunk in sorted(folder.glob(f"{CHUNK}*")):
        record.chunks.put(chunk.read_bytes())
    return record
