"""A canister in a folder: what its slot holds, its module, memories and chunks."""

import json
from pathlib import Path
from typing import Any

from appliance.errors import CandidError, Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.chunk_store import ChunkProblem
from appliance.localnet.canisters.record import History, LogLine, Slot
from appliance.localnet.canisters.settings import Settings
from appliance.localnet.replica.replica import Replica
from appliance.localnet.wasm.loader import NoEngine, load_wasm_canister

SLOT_FILE = "canister.json"
CHUNK = "chunk-"


class Damaged(Exception):
    """A canister that cannot be read back; the text says what is wrong."""


def is_kept(slot: Slot) -> bool:
    """Whether it can be kept: an empty canister or one of Wasm; one in Python lives in its program."""
    return slot.canister is None or slot.actor is not None


def write(slot: Slot, certified_data: bytes, folder: Path) -> None:
    """Write a canister into a folder, which must exist. Calls in execution are not kept. Raises OSError."""
    if slot.actor is not None:
        slot.actor.save(folder)
    for digest in slot.chunks:
        (folder / f"{CHUNK}{digest.hex()}").write_bytes(slot.chunks.get(digest))
    facts = {
        "has_code": slot.actor is not None,
        "controllers": [str(controller) for controller in sorted(slot.controllers)],
        "status": "running" if slot.status == "running" else "stopped",
        "version": slot.version,
        "cycles": slot.cycles,
        "timer_ns": slot.timer_ns,
        "variables": slot.variables,
        "name": slot.name,
        "settings": slot.settings.encode().hex(),
        "changes": slot.history.encode().hex(),
        "change_count": slot.history.total,
        "log": [[line.number, line.time_ns, line.text] for line in slot.log],
        "log_number": slot.log_number,
        "certified_data": certified_data.hex(),
    }
    (folder / SLOT_FILE).write_text(json.dumps(facts))


def restore(replica: Replica, canister_id: Principal, folder: Path, *, cache: Path | None) -> None:
    """Put a canister back as it was written. Raises Damaged, and NoEngine where it is one of Wasm."""
    try:
        facts = json.loads((folder / SLOT_FILE).read_text())
        slot = _slot(canister_id, facts, folder)
        if facts["has_code"]:
            slot.canister = load_wasm_canister(folder, cache=cache)
        replica.restore_canister(slot, certified_data=bytes.fromhex(facts["certified_data"]))
    except NoEngine:
        raise
    except (OSError, ValueError, KeyError, TypeError, CandidError, Malformed, ChunkProblem, ExecutionError) as error:
        raise Damaged(f"canister {canister_id} cannot be read: {type(error).__name__}: {error}") from error


def _slot(canister_id: Principal, facts: dict[str, Any], folder: Path) -> Slot:
    slot = Slot(
        canister_id,
        controllers=frozenset(map(Principal.from_text, facts["controllers"])),
        status=facts["status"],
        version=facts["version"],
        cycles=facts["cycles"],
        timer_ns=facts["timer_ns"],
        variables=facts["variables"],
        name=facts["name"],
        settings=Settings.decode(bytes.fromhex(facts["settings"])),
        history=History.decode(bytes.fromhex(facts["changes"]), facts["change_count"]),
    )
    slot.restore_log((LogLine(*line) for line in facts["log"]), next_number=facts["log_number"])
    for chunk in sorted(folder.glob(f"{CHUNK}*")):
        slot.chunks.put(chunk.read_bytes())
    return slot
