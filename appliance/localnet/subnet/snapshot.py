"""The state of a subnet at one height, as replicas that lag behind answer from it."""

from collections import deque
from copy import copy
from typing import NamedTuple

from appliance.localnet.canisters.canister import Canister, Status
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.replica.replica import Replica
from appliance.localnet.replica.view import View
from appliance.localnet.state.certified_state import StateVersion


class _Source(NamedTuple):
    """What a kept record was made from; equal where nothing has changed since."""

    record: CanisterRecord
    canister: Canister | None
    version: int
    status: Status


class KeptRecords(CanisterRecords):
    """The records of all canisters as they were, with snapshots of the canisters.

    A canister that has not changed shares its snapshot with ``previous``: a copy of each one for each block would cost
    as much as all of them hold.
    """

    def __init__(self, replica: Replica, previous: "KeptRecords | None") -> None:
        super().__init__(replica.authority)
        self._latest = replica.canisters
        self.log_listeners = replica.canisters.log_listeners
        self._sources: dict[CanisterRecord, _Source] = {}
        before = {} if previous is None else {source: record for record, source in previous._sources.items()}
        for record in replica.canisters:
            source = _Source(record, record.canister, record.version, record.status)
            kept = before.get(source) or _kept(record)
            self._sources[kept] = source
            self.add(kept)

    def _write(self, record: CanisterRecord, text: str, time_ns: int) -> None:
        """Write into the log of today: a developer looks for what a query prints there."""
        super()._write(self._latest.get(record.canister_id) or record, text, time_ns)


def _kept(record: CanisterRecord) -> CanisterRecord:
    kept = copy(record)
    kept.canister = None if record.canister is None else record.canister.snapshot()
    kept.log, kept.on_log = deque(), None
    return kept


class Snapshot:
    """The certified state and the canisters of one height."""

    def __init__(self, replica: Replica, state: StateVersion, previous: "Snapshot | None") -> None:
        self.state = state
        self.canisters: KeptRecords = KeptRecords(replica, None if previous is None else previous.canisters)
        self.view = View(self.canisters, replica.executor, state, lambda: state.time_ns)
