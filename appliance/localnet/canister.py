"""What runs on the replica: the interface that a host of canisters fills (IC interface specification, "System API").

An execution is one call of a method below. It returns the reply's bytes or raises; **an execution that raises leaves no
trace in the canister**, which is the host's duty, and the replica drops what the execution asked of its environment.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from appliance.ic.principal import Principal

CERTIFIED_DATA_LIMIT = 32
REPLY_LIMIT = 2 * 1024 * 1024
QUERY_REPLY_LIMIT = 3 * 1024 * 1024

log = logging.getLogger(__name__)


class ExecutionError(Exception):
    """An execution without a reply. Its text is what the caller gets to read."""


class Trap(ExecutionError):
    """The canister gave up (``ic0.trap``, or a fault of its own). The caller sees reject code 5."""


class Reject(ExecutionError):
    """The canister refused in words (``ic0.msg_reject``). The caller sees reject code 4."""


class MethodNotFound(ExecutionError):
    """The canister exports no such method, or not for this kind of call (``update`` or ``query``)."""

    def __init__(self, kind: str, method: str) -> None:
        super().__init__(f"Canister has no {kind} method '{method}'")


@dataclass
class Environment:
    """What one execution sees of the IC and may ask of it. Valid during that execution only.

    ``time_ns`` stands still during an execution and never runs backwards from one to the next. ``timer_ns`` is when
    ``Canister.on_timer`` is due, 0 for never. ``certificate`` is given to queries only. A reply longer than
    ``reply_limit`` bytes is a trap.
    """

    canister_id: Principal
    caller: Principal
    time_ns: int
    timer_ns: int = 0
    certificate: Callable[[], bytes] | None = None
    reply_limit: int = REPLY_LIMIT
    certified_data: bytes | None = field(default=None, init=False)

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
        """Have ``on_timer`` called once when that time has come (0: never); returns what was set before."""
        previous, self.timer_ns = self.timer_ns, time_ns
        return previous

    def check_reply(self, reply: bytes) -> bytes:
        """The same bytes; traps where they are too many."""
        if len(reply) > self.reply_limit:
            raise Trap(f"application payload size ({len(reply)}) cannot be larger than {self.reply_limit}")
        return reply

    def print(self, text: str) -> None:
        """Write a line into the log (``ic0.debug_print``)."""
        log.debug("[canister %s] %s", self.canister_id, text)


class Canister(Protocol):
    """A canister with its host. Every method raises ExecutionError, and leaves no trace when it does."""

    @property
    def module_hash(self) -> bytes:
        """SHA-256 that identifies the code, 32 bytes."""

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """Public custom sections by name, e.g. ``candid:service``."""

    def install(self, arg: bytes, env: Environment) -> None:
        """Start with an empty state (``canister_init``); ``arg`` is Candid."""

    def update(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute an update method, or a query method replicated and without changing the state."""

    def query(self, method: str, arg: bytes, env: Environment) -> bytes:
        """Execute a query method; the state is afterwards as it was."""

    def on_timer(self, env: Environment) -> None:
        """The timer is due (``canister_global_timer``); it is off unless set again."""
