"""The interface between the replica and canisters of any kind (IC interface specification, "System API").

An execution is one call of a method below. It returns or raises. **An execution that raises must leave the canister as
it was**: the implementation rolls back the canister's own state, the replica discards the effects in the environment.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import Closure, Cycles, OutgoingCall
from appliance.localnet.state.outcome import CANISTER_REJECT, Outcome, Rejection, Reply

CERTIFIED_DATA_LIMIT = 32
REPLY_LIMIT = 2 * 1024 * 1024
QUERY_REPLY_LIMIT = 3 * 1024 * 1024

Status: TypeAlias = Literal["running", "stopping", "stopped"]

log = logging.getLogger(__name__)


class ExecutionError(Exception):
    """A failed execution. Its text is part of the reject message.

    ``error_code`` is the replica's. ``reject_code`` 5 says that the canister failed, 4 that it refused.
    """

    error_code: ClassVar[str] = "IC0502"
    reject_code: ClassVar[int] = 5

    @property
    def sentence(self) -> str:
        """The problem in the wording of the replica; follows the name of the canister."""
        return str(self)


class Trap(ExecutionError):
    """The canister trapped by ``ic0.trap``, or by an exception where it is written in Python."""

    error_code = "IC0503"

    @property
    def sentence(self) -> str:
        """The text that it trapped with."""
        return f"Canister called `ic0.trap` with message: '{self}'"


class Reject(ExecutionError):
    """The canister rejects the call and rolls back what it did. The caller gets reject code 4."""

    error_code = "IC0406"
    reject_code = CANISTER_REJECT


class MethodNotFound(ExecutionError):
    """The canister exports no such method, or not for this kind of call (``update`` or ``query``)."""

    error_code = "IC0536"

    def __init__(self, kind: str, method: str) -> None:
        super().__init__(f"Canister has no {kind} method '{method}'")


@dataclass(frozen=True)
class CanisterInfo:
    """What a canister can read about itself."""

    controllers: frozenset[Principal] = frozenset()
    version: int = 0
    status: Status = "running"
    subnet_id: bytes = b""
    root_key: bytes = b""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Environment:
    """The system API of one execution: what it can read and what it can request. Valid during that execution only.

    ``time_ns`` stands still during an execution and never runs backwards from one to the next. ``timer_ns`` is when
    ``Canister.on_timer`` is due, 0 for never. ``certificate`` is given to queries only. A reply longer than
    ``reply_limit`` bytes is a trap. ``is_answered`` says that an earlier execution of the same call has answered it,
    ``instructions`` how many those have executed; an execution adds its own.
    """

    canister_id: Principal
    caller: Principal
    time_ns: int
    timer_ns: int = 0
    certificate: Callable[[], bytes] | None = None
    reply_limit: int = REPLY_LIMIT
    info: CanisterInfo = field(default_factory=CanisterInfo)
    cycles: Cycles = field(default_factory=Cycles)
    is_answered: bool = False
    instructions: int = 0
    on_print: Callable[[str], None] | None = None
    certified_data: bytes | None = field(default=None, init=False)
    answer: Outcome | None = field(default=None, init=False)
    calls: list[OutgoingCall] = field(default_factory=list, init=False)

    def set_certified_data(self, data: bytes) -> None:
        """Certify up to 32 bytes from the next state on. Traps in a query and for more bytes."""
        if self.certificate is not None:
            raise Trap("certified_data_set cannot be called from a query")
        if len(data) > CERTIFIED_DATA_LIMIT:
            raise Trap(f"certified_data_set takes at most {CERTIFIED_DATA_LIMIT} bytes, got {len(data)}")
        self.certified_data = data

    def data_certificate(self) -> bytes | None:
        """A certificate of this canister's certified data; None in replicated execution."""
        return None if self.certificate is None else self.certificate()

    def set_timer(self, time_ns: int) -> int:
        """Set the time of the next ``on_timer`` (0: never); returns the time that was set before."""
        previous, self.timer_ns = self.timer_ns, time_ns
        return previous

    def check_reply(self, reply: bytes) -> bytes:
        """The same bytes; traps where they exceed ``reply_limit``."""
        if len(reply) > self.reply_limit:
            raise Trap(f"application payload size ({len(reply)}) cannot be larger than {self.reply_limit}")
        return reply

    def reply(self, reply: bytes) -> None:
        """Reply to the call before the execution ends. Traps where the call was answered."""
        self._answer(Reply(self.check_reply(reply)))

    def reject(self, text: str) -> None:
        """Reject the call and keep the changes, unlike `Reject`. Traps where the call was answered."""
        self._answer(Rejection(CANISTER_REJECT, text, Reject.error_code))

    def _answer(self, outcome: Outcome) -> None:
        if self.is_answered:
            raise Trap("the call is already answered")
        self.is_answered = True
        self.answer = outcome

    def print(self, text: str) -> None:
        """Write a line into the log (``ic0.debug_print``)."""
        log.debug("[canister %s] %s", self.canister_id, text)
        if self.on_print is not None:
            self.on_print(text)


class Canister(Protocol):
    """An installed canister. Every method may raise ExecutionError, and then has changed nothing."""

    @property
    def module_hash(self) -> bytes:
        """SHA-256 that identifies the code, 32 bytes."""

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """Public custom sections by name, e.g. ``candid:service``."""

    def install(self, arg: bytes, env: Environment) -> None:
        """Start with an empty state (``canister_init``); ``arg`` is Candid."""

    def update(self, method: str, arg: bytes, env: Environment) -> bytes | None:
        """Execute an update method, or a query method replicated and without changing the state.

        None where the answer is in the environment, or comes later from a callback.
        """

    def query(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute a query method; the state is afterwards as it was."""

    def on_timer(self, env: Environment) -> None:
        """Run ``canister_global_timer``; the timer is off unless it is set again."""

    def snapshot(self) -> "Canister":
        """A canister that executes queries on the state as it is now, whatever this one executes later.

        Replicas that lag behind answer from it. Nothing else may be executed in it.
        """


class Query(Protocol):
    """A query in several executions (``canister_composite_query``) on a copy of the state, which is discarded."""

    def start(self, method: str, arg: bytes, env: Environment) -> None:
        """Execute the method."""

    def on_response(self, call: OutgoingCall, outcome: Outcome, env: Environment) -> None:
        """Run the callback for the response to a call."""

    def clean_up(self, closure: Closure, env: Environment) -> None:
        """Run the cleanup callback after `on_response` raised."""


@runtime_checkable
class Actor(Canister, Protocol):
    """A canister that can make calls, be saved and be upgraded, as canisters of Wasm can."""

    has_heartbeat: bool
    """Whether `on_heartbeat` does something."""

    @property
    def private_metadata(self) -> Mapping[str, bytes]:
        """Custom sections by name that only controllers may read."""

    @property
    def exported_interface(self) -> str:
        """The Candid interface that a function of the module returns; empty where there is no such function."""

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Bytes of main and of stable memory."""

    def save(self, folder: Path) -> None:
        """Write everything into a folder, which must exist. Raises OSError."""

    def upgrade(
        self,
        module: bytes,
        arg: bytes,
        env: Environment,
        *,
        skip_pre_upgrade: bool = False,
        keep_memory: bool | None = None,
    ) -> None:
        """Replace the code and keep the stable memory (``canister_pre_upgrade``, ``canister_post_upgrade``).

        ``keep_memory`` keeps the main memory too; None is the module's own choice, which must not be a silent loss.
        """

    def inspect(self, method: str, arg: bytes, env: Environment) -> bool:
        """Whether a user's call is accepted (``canister_inspect_message``)."""

    def on_response(self, call: OutgoingCall, outcome: Outcome, env: Environment) -> None:
        """Run the callback for the response to a call."""

    def clean_up(self, closure: Closure, env: Environment) -> None:
        """Run the cleanup callback after `on_response` raised."""

    def on_heartbeat(self, env: Environment) -> None:
        """Run ``canister_heartbeat``."""

    def open_query(self) -> Query:
        """A query that may make calls, on the state as it is now."""
