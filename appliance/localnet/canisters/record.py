"""The canisters of the replica, each in its record: what is kept about it besides the code and its state."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import CallContext, Cycles
from appliance.localnet.canisters.canister import Actor, Canister, CanisterInfo, Environment, Status
from appliance.localnet.canisters.chunk_store import ChunkStore
from appliance.localnet.canisters.management_types import CHANGES
from appliance.localnet.canisters.settings import Settings
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.outcome import CANISTER_ERROR, DESTINATION_INVALID, Rejection

HISTORY_LIMIT = 20
LOG_LINES = 1000
START_CYCLES = 3_000_000 * 10**12
"""As many as local networks give."""


class CanisterHistory:
    """Counts all changes and keeps the last ones."""

    def __init__(self) -> None:
        self.total = 0
        self._changes: deque[dict[str, Any]] = deque(maxlen=HISTORY_LIMIT)

    def add(
        self, details: dict[str, object], who: Principal, *, is_user: bool, time_ns: int, canister_version: int
    ) -> None:
        """Somebody changed something."""
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
        """The kept changes, to be kept longer."""
        return CHANGES.encode(list(self._changes))

    @staticmethod
    def decode(data: bytes, total: int) -> "CanisterHistory":
        """What was kept. Raises CandidError."""
        history = CanisterHistory()
        history.total = total
        (changes,) = CHANGES.decode(data)
        history._changes.extend(cast("list[dict[str, Any]]", changes))
        return history


@dataclass(frozen=True)
class LogLine:
    """A line that a canister has written, or why it trapped. ``number`` counts from 0 and is never given again."""

    number: int
    time_ns: int
    text: str


@dataclass(eq=False)
class CanisterRecord:
    """A canister id and what has it. ``canister`` is None where no code is installed.

    ``version`` grows with every change. ``timer_ns`` and ``heartbeat_ns`` are when those are due, 0 for never.
    ``contexts`` are the calls in execution; a stopping canister stops when there is none. ``name`` is what people call
    it, empty where they do not.
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
    settings: Settings = field(default_factory=Settings)
    chunks: ChunkStore = field(default_factory=ChunkStore)
    history: CanisterHistory = field(default_factory=CanisterHistory)
    contexts: set[CallContext] = field(default_factory=set)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    on_log: Callable[[LogLine], None] | None = None
    on_stopped: list[Callable[[bool], None]] = field(default_factory=list)
    _log_number: int = 0
    _looked_at: Canister | None = None
    _actor: Actor | None = None

    @property
    def actor(self) -> Actor | None:
        """The canister, where it is one that makes calls."""
        if self._looked_at is not self.canister:  # to look takes as long as many a message
            self._looked_at = self.canister
            self._actor = self.canister if isinstance(self.canister, Actor) else None
        return self._actor

    def write_log(self, text: str, *, time_ns: int) -> LogLine:
        """Keep a line, and tell who listens."""
        line = LogLine(self._log_number, time_ns, text)
        self._log_number += 1
        self.log.append(line)
        if self.on_log is not None:
            self.on_log(line)
        return line

    def restore_log(self, lines: Iterable[LogLine], *, next_number: int) -> None:
        """Have the lines of a canister that was saved."""
        self.log.extend(lines)
        self._log_number = next_number

    @property
    def log_number(self) -> int:
        """The number of the next line."""
        return self._log_number

    def rejection(self) -> Rejection | None:
        """Why it executes nothing now, or None."""
        if self.status != "running":
            code = "IC0508" if self.status == "stopped" else "IC0509"
            return Rejection(CANISTER_ERROR, f"Canister {self.canister_id} is {self.status}", code)
        if self.canister is None:
            text = f"Error from Canister {self.canister_id}: Attempted to execute a message, but the canister contains"
            return Rejection(CANISTER_ERROR, f"{text} no Wasm module.", "IC0537")
        return None


class CanisterRecords:
    """All canisters by id. ``log_listeners`` are told every line that any of them writes."""

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
        """A canister is created."""
        self._canisters[record.canister_id] = record

    def remove(self, canister_id: Principal) -> None:
        """A canister is deleted."""
        del self._canisters[canister_id]

    def rejection(self, canister_id: Principal) -> Rejection | None:
        """Why a canister cannot execute anything: it does not exist, does not run, or has no code."""
        record = self._canisters.get(canister_id)
        if record is None:
            return Rejection(DESTINATION_INVALID, f"Canister {canister_id} not found", "IC0301")
        return record.rejection()

    def environment(self, record: CanisterRecord, caller: Principal, time_ns: int) -> Environment:
        """What an execution of the canister sees."""
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
        for tell in self.log_listeners:
            tell(record, line)
