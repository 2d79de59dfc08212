"""What became of the calls that users have sent (IC interface specification, "Request status")."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from appliance.ic.principal import Principal
from appliance.localnet.state.certification import leb128
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.outcome import Outcome, Rejection, Reply

KEEP_NS = 360 * 10**9
"""How long an outcome is kept: the 5 minutes that are promised, and until the request can no longer be accepted again
(5 minutes and 30 seconds after it was sent)."""

Status: TypeAlias = Literal["received", "processing", "replied", "rejected"]


@dataclass(eq=False)
class Call:
    """A call that was taken. ``done`` is set when there is an ``outcome``."""

    request_id: bytes
    sender: Principal
    canister_id: Principal
    method: str
    arg: bytes
    status: Status = "received"
    outcome: Outcome | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> tuple[bytes, ...]:
        """Where its status lies in the state tree."""
        return (b"request_status", self.request_id)


class IngressHistory:
    """The calls by request id, with their statuses in the certified state."""

    def __init__(self, state: CertifiedState) -> None:
        self._state = state
        self._calls: dict[bytes, Call] = {}
        self._finished: deque[tuple[int, Call]] = deque()

    def get(self, request_id: bytes) -> Call | None:
        """A call that is not forgotten yet."""
        return self._calls.get(request_id)

    def add(self, call: Call) -> None:
        """A call was received."""
        self._calls[call.request_id] = call
        self._set_status(call, "received")

    def start(self, call: Call) -> None:
        """Its execution begins."""
        self._set_status(call, "processing")

    def finish(self, call: Call, outcome: Outcome, *, now_ns: int) -> None:
        """It has an outcome."""
        call.outcome = outcome
        match outcome:
            case Reply(arg):
                self._state.set((*call.path, b"reply"), arg)
                self._set_status(call, "replied")
            case Rejection(code, message, error_code):
                self._state.set((*call.path, b"reject_code"), leb128(code))
                self._state.set((*call.path, b"reject_message"), message.encode())
                self._state.set((*call.path, b"error_code"), error_code.encode())
                self._set_status(call, "rejected")
        self._finished.append((now_ns, call))
        call.done.set()

    def prune(self, *, now_ns: int) -> None:
        """Forget outcomes that were kept long enough."""
        while self._finished and now_ns - self._finished[0][0] > KEEP_NS:
            call = self._finished.popleft()[1]
            del self._calls[call.request_id]
            self._state.delete(call.path)

    def _set_status(self, call: Call, status: Status) -> None:
        call.status = status
        self._state.set((*call.path, b"status"), status.encode())
