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
    """A call that a canister makes, with what continues the caller: exactly one of reply and reject is called.

    A cleanup is called where that one trapped. ``cycles`` have left the caller's balance.
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
    """One call in execution: who is answered, whether that has happened, and how many calls of its own are out.

    ``origin`` None is the system, which expects no answer. ``instructions`` counts over all its executions.
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
    """A call of a canister that is not answered yet."""

    context: CallContext
    call: OutgoingCall


Origin: TypeAlias = Call | PendingCall | None


@dataclass
class Cycles:
    """What an execution can do with cycles; ``available`` came with the call, ``refunded`` with the response to one."""

    balance: int = 0
    available: int = 0
    refunded: int = 0

    def accept(self, wanted: int) -> int:
        """Take what is available up to that many, and return how many."""
        taken = min(wanted, self.available)
        self.available -= taken
        self.balance += taken
        return taken

    def burn(self, wanted: int) -> int:
        """Destroy up to that many of the balance, and return how many."""
        burnt = min(wanted, self.balance)
        self.balance -= burnt
        return burnt
