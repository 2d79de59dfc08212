"""Calls of users and their statuses (IC interface specification, "Request status")."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from appliance.ic.principal import Principal
from appliance.localnet.state.certification import leb128
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.outcome import Outcome, Rejection, Reply

KEEP_NS = 360 * 10**9
"""How long an outcome is kept: longer than the 5 minutes that the IC promises, and longer than an ingress message can
be accepted (5 minutes and 30 seconds). Forgotten earlier, the same bytes posted again would be executed again. Counted
by an unmoved clock, by which requests are still accepted after the network's was moved ahead."""

Status: TypeAlias = Literal["received", "processing", "replied", "rejected"]


@dataclass(eq=False)
class Call:
    """A call that was accepted. ``done`` is set when there is an ``outcome``; ``height`` is then that of the first
    certified state that has it."""

    request_id: bytes
    sender: Principal
    canister_id: Principal
    method: str
    arg: bytes
    status: Status = "received"
    outcome: Outcome | None = None
    height: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> tuple[bytes, ...]:
        """The path of its status in the state tree."""
        return (b"request_status", self.request_id)


class IngressHistory:
    """The calls by request id; their statuses are in the certified state."""

    def __init__(self, state: CertifiedState) -> None:
        self._state = state
        self._calls: dict[bytes, Call] = {}
        self._finished: deque[tuple[int, Call]] = deque()

    def get(self, request_id: bytes) -> Call | None:
        """The call, unless it is unknown or was removed by `prune`."""
        return self._calls.get(request_id)

    def add(self, call: Call) -> None:
        """Add a received call."""
        self._calls[call.request_id] = call
        self._set_status(call, "received")

    def start(self, call: Call) -> None:
        """Record that the execution begins."""
        self._set_status(call, "processing")

    def finish(self, call: Call, outcome: Outcome) -> None:
        """Record the outcome."""
        call.outcome, call.height = outcome, self._state.height + 1
        match outcome:
            case Reply(arg):
                self._state.set((*call.path, b"reply"), arg)
                self._set_status(call, "replied")
            case Rejection(code, message, error_code):
                self._state.set((*call.path, b"reject_code"), leb128(code))
                self._state.set((*call.path, b"reject_message"), message.encode())
                self._state.set((*call.path, b"error_code"), error_code.encode())
                self._set_status(call, "rejected")
        self._finished.append((self._state.unmoved_time(), call))
        call.done.set()  # last: who waits for it reads the status from the state

    def prune(self) -> None:
        """Remove outcomes that are older than ``KEEP_NS``."""
        now_ns = self._state.unmoved_time()
        while self._finished and now_ns - self._finished[0][0] > KEEP_NS:
            call = self._finished.popleft()[1]
            del self._calls[call.request_id]
            self._state.delete(call.path)

    def _set_status(self, call: Call, status: Status) -> None:
        call.status = status
        self._state.set((*call.path, b"status"), status.encode())
