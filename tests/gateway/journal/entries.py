"""Entries of a journal, and what a file has."""

from pathlib import Path

from appliance.gateway.journal.entry import Entry
from appliance.gateway.journal.files import LockedStore
from appliance.ic.principal import Principal
from tests.gateway.clients import CANISTER, GATEWAY


def entry(
    number: int = 1, *, generation: str = "v2", principal: bytes = b"principal", canister: Principal = CANISTER
) -> Entry:
    principal = b"" if generation == "v0" else principal
    return Entry(canister, b"key %d" % number, generation, f"client {number}", principal, b"argument %d" % number)


def left_in(file: Path, *, now_ns: int = 0, gateway: bytes = GATEWAY) -> list[Entry]:
    """What the next process finds."""
    files = LockedStore(file, gateway, now_ns=now_ns)
    try:
        return files.left_behind
    finally:
        files.close()
