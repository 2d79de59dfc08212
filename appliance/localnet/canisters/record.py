"""What the replica records about its canisters besides their code and state: status, cycles, log, history."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import CallContext, Cycles
from appliance.localnet.canisters.candid_interface import FoundInterface
from appliance.localnet.canisters.canister import Actor, Canister, CanisterInfo, Environment, Status
from appliance.localnet.canisters.chunk_store import ChunkStore
from appliance.localnet.canisters.management_types import CHANGES
from appliance.localnet.canisters.settings import Settings
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.outcome import CANISTER_ERROR, DESTINATION_INVALID, Rejection

HISTORY_LIMIT = 20
SNAPSHOT_LIMIT = 10
"""Snapshots of one canister, as on the IC."""
LOG_LINES = 1000
START_CYCLES = 3_000_000 * 10**12
"""The cycles of a new canister, the same number as on other local networks."""


class CanisterHistory:
    """The last changes of a canister, for ``canister_info``, and the number of all changes."""

    def __init__(self) -> None:
        self.total = 0
        self._changes: deque[dict[str, Any]] = deque(maxlen=HISTORY_LIMIT)

    def add(
        self, details: dict[str, object], who: Principal, *, is_user: bool, time_ns: int, canister_version: int
    ) -> None:
        """Add a change that the principal ``who`` made, a user or a canister."""
        user, canister = {"from_user": {"user_id": who}}, {"from_canister": {"canister_id": who}}
        self.total += 1
        self._changes.append(
            {
                "timestamp_nanos": time_ns,
                "canister_version": canister_version,
                "origin": user if is_user else canister,
                "details": details,
            }
        )

    def recent(self, wanted: int) -> list[dict[str, Any]]:
        """The last changes, the oldest first."""
        return list(self._changes)[max(0, len(self._changes) - wanted) :]

    def encode(self) -> bytes:
        """The last changes as Candid, for `decode`."""
        return CHANGES.encode(list(self._changes))

    @staticmethod
    def decode(data: bytes, total: int) -> "CanisterHistory":
        """The history with these last changes. Raises CandidError."""
        history = CanisterHistory()
        history.total = total
        (changes,) = CHANGES.decode(data)
        history._changes.extend(cast("list[dict[str, Any]]", changes))
        return history


@dataclass(frozen=True)
class LogLine:
    """A line of a canister's log: printed by the canister, or the reason of a trap. ``number`` counts from 0."""

    number: int
    time_ns: int
    text: str


@dataclass(frozen=True, eq=False)
class CanisterSnapshot:
    """A canister of Wasm as it was at the time ``taken_ns``. ``canister`` never executes anything; a load copies it.

    ``size`` is that of memories and chunks, in bytes.
    """

    snapshot_id: bytes
    taken_ns: int
    canister_version: int
    size: int
    canister: Canister
    chunks: ChunkStore
    certified_data: bytes
    timer_ns: int


@dataclass(eq=False)
class CanisterRecord:
    """A canister id and everything that belongs to it. ``canister`` is None where no code is installed.

    ``version`` grows with every change. ``timer_ns`` and ``heartbeat_ns`` are when those are due, 0 for never.
    ``contexts`` are the open calls; a stopping canister stops when none is left. ``name`` is given by the user of the
    local network, or empty, and ``beside`` is the interface that came with the module. ``snapshots`` are kept by their
    ids, the oldest first; ``snapshot_number`` only grows.
    """

    canister_id: Principal
    canister: Canister | None = None
    controllers: frozenset[Principal] = frozenset()
    status: Status = "running"
    version: int = 0
    cycles: int = START_CYCLES
    timer_ns: int = 0
    heartbeat_ns: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    name: str = ""
    beside: FoundInterface = field(default_factory=FoundInterface)
    settings: Settings = field(default_factory=Settings)
    chunks: ChunkStore = field(default_factory=ChunkStore)
    history: CanisterHistory = field(default_factory=CanisterHistory)
    snapshots: dict[bytes, CanisterSnapshot] = field(default_factory=dict)
    snapshot_number: int = 0
    contexts: set[CallContext] = field(default_factory=set)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    on_log: Callable[[LogLine], None] | None = None
    on_stopped: list[Callable[[bool], None]] = field(default_factory=list)
    _log_number: int = 0
    _looked_at: Canister | None = None
    _actor: Actor | None = None

    @property
    def actor(self) -> Actor | None:
        """The canister, where it can make calls."""
        if self._looked_at is not self.canister:  # isinstance of a Protocol takes as long as an execution
            self._looked_at = self.canister
            self._actor = self.canister if isinstance(self.canister, Actor) else None
        return self._actor

    def write_log(self, text: str, *, time_ns: int) -> LogLine:
        """Add a line, and pass it to ``on_log``."""
        line = LogLine(self._log_number, time_ns, text)
        self._log_number += 1
        self.log.append(line)
        if self.on_log is not None:
            self.on_log(line)
        return line

    def restore_log(self, lines: Iterable[LogLine], *, next_number: int) -> None:
        """Set the lines of a canister that was saved."""
        self.log.extend(lines)
        self._log_number = next_number

    @property
    def log_number(self) -> int:
        """The number of the next line."""
        return self._log_number

    def rejection(self) -> Rejection | None:
        """The rejection of calls that arrive now: not running, or no code. None where it executes them."""
        if self.status != "running":
            code = "IC0508" if self.status == "stopped" else "IC0509"
            return Rejection(CANISTER_ERROR, f"Canister {self.canister_id} is {self.status}", code)
        if self.canister is None:
            text = f"Error from Canister {self.canister_id}: Attempted to execute a message, but the canister contains"
            return Rejection(CANISTER_ERROR, f"{text} no Wasm module.", "IC0537")
        return None


class CanisterRecords:
    """All canisters by id. ``log_listeners`` are called with every log line of every canister."""

    def __init__(self, authority: Authority) -> None:
        self.log_listeners: list[Callable[[CanisterRecord, LogLine], None]] = []
        self._authority = authority
        self._canisters: dict[Principal, CanisterRecord] = {}

    def __contains__(self, canister_id: object) -> bool:
        return canister_id in self._canisters

    def __iter__(self) -> Iterator[CanisterRecord]:
        return iter(self._canisters.values())

    def __getitem__(self, canister_id: Principal) -> CanisterRecord:
        """Raises KeyError with the id as text."""
        try:
            return self._canisters[canister_id]
        except KeyError:
            raise KeyError(str(canister_id)) from None

    def get(self, canister_id: Principal) -> CanisterRecord | None:
        """The record, where there is one."""
        return self._canisters.get(canister_id)

    def add(self, record: CanisterRecord) -> None:
        """Add a created canister."""
        self._canisters[record.canister_id] = record

    def remove(self, canister_id: Principal) -> None:
        """Remove a deleted canister."""
        del self._canisters[canister_id]

    def rejection(self, canister_id: Principal) -> Rejection | None:
        """The rejection of calls to a canister: missing, not running, or without code; None otherwise."""
        record = self._canisters.get(canister_id)
        if record is None:
            return Rejection(DESTINATION_INVALID, f"Canister {canister_id} not found", "IC0301")
        return record.rejection()

    def environment(self, record: CanisterRecord, caller: Principal, time_ns: int) -> Environment:
        """The environment of an execution of the canister."""
        info = CanisterInfo(
            record.controllers,
            record.version,
            record.status,
            self._authority.subnet_id,
            self._authority.root_key,
            record.variables,
        )
        env = Environment(record.canister_id, caller, time_ns, record.timer_ns, info=info, cycles=Cycles(record.cycles))
        env.on_print = lambda text: self._write(record, text, time_ns)
        return env

    def _write(self, record: CanisterRecord, text: str, time_ns: int) -> None:
        line = record.write_log(text, time_ns=time_ns)
        for listener in self.log_listeners:
            listener(record, line)
