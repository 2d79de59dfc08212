"""Calls between canisters (IC interface specification, "Call contexts" and "Inter-canister calls")."""

from dataclasses import dataclass
from typing import TypeAlias

from appliance.ic.principal import Principal
from appliance.localnet.state.ingress import Call


@dataclass(frozen=True)
class Closure:
    """A function of a canister, by its place in the module's table, and what it is called with."""

    function: int
    env: int


@dataclass(frozen=True)
class OutgoingCall:
    """A call that a canister makes, with its callbacks: exactly one of reply and reject runs.

    The cleanup runs where that one trapped. ``cycles`` are already subtracted from the caller's balance.
    """

    callee: Principal
    method: str
    arg: bytes
    on_reply: Closure
    on_reject: Closure
    on_cleanup: Closure | None = None
    cycles: int = 0


@dataclass(eq=False)
class CallContext:
    """An open call: where its response goes, whether it was sent, and how many calls of its own are not answered yet.

    ``origin`` is None for timers and heartbeats, which nobody waits for. ``instructions`` counts over all executions.
    """

    canister_id: Principal
    caller: Principal
    origin: "Origin"
    arrived_ns: int = 0
    is_answered: bool = False
    outstanding: int = 0
    cycles_available: int = 0
    instructions: int = 0


@dataclass(frozen=True)
class PendingCall:
    """A canister's call that is not answered yet, with the call context that made it."""

    context: CallContext
    call: OutgoingCall


Origin: TypeAlias = Call | PendingCall | None


@dataclass
class Cycles:
    """The cycles of one execution: ``available`` were sent with the call, ``refunded`` came back with a response."""

    balance: int = 0
    available: int = 0
    refunded: int = 0

    def accept(self, wanted: int) -> int:
        """Move up to ``wanted`` available cycles into the balance; returns how many."""
        taken = min(wanted, self.available)
        self.available -= taken
        self.balance += taken
        return taken

    def burn(self, wanted: int) -> int:
        """Destroy up to ``wanted`` cycles of the balance; returns how many."""
        burnt = min(wanted, self.balance)
        self.balance -= burnt
        return burnt
