"""System functions that call other canisters. A call is made when the execution is over and has not trapped."""

from appliance.localnet.canisters.calls import Closure
from appliance.localnet.wasm.execution import ContractViolation, Draft, Execution
from appliance.localnet.wasm.registry import function

CALLING = "U CQ Ry Rt CRy CRt T"
PRINCIPAL_LIMIT = 29
NAME_LIMIT = 20_000
PAYLOAD_LIMIT = 10 * 1024 * 1024
"""Of a call on one subnet."""

QUEUE_LIMIT = 500
"""Calls that one execution can make; one more is refused, not a trap."""


@function("pppppppp", "", CALLING)
def call_new(  # noqa: PLR0917  # the interface has as many
    execution: Execution,
    callee: int,
    callee_size: int,
    name: int,
    name_size: int,
    reply_function: int,
    reply_env: int,
    reject_function: int,
    reject_env: int,
) -> None:
    """Begin a call; one that was begun and not performed is dropped."""
    execution.drop_draft()
    if callee_size > PRINCIPAL_LIMIT:
        raise ContractViolation(
            f"ic0.call_new: a principal of {callee_size} bytes, at most {PRINCIPAL_LIMIT} are allowed"
        )
    if name_size > NAME_LIMIT:
        raise ContractViolation(f"ic0.call_new: a method name of {name_size} bytes, at most {NAME_LIMIT} are allowed")
    execution.draft = Draft(
        execution.read(callee, callee_size),
        execution.read(name, name_size),
        Closure(reply_function, reply_env),
        Closure(reject_function, reject_env),
    )


@function("pp", "", CALLING)
def call_on_cleanup(execution: Execution, cleanup_function: int, env: int) -> None:
    """Have a function called where a callback of this call traps."""
    draft = _draft(execution, "call_on_cleanup")
    if draft.on_cleanup is not None:
        raise ContractViolation("ic0.call_on_cleanup was called before for this call")
    draft.on_cleanup = Closure(cleanup_function, env)


@function("pp", "", CALLING)
def call_data_append(execution: Execution, source: int, size: int) -> None:
    """Add to the argument."""
    draft = _draft(execution, "call_data_append")
    if len(draft.arg) + size > PAYLOAD_LIMIT:
        raise ContractViolation(
            f"ic0.call_data_append: payload size ({len(draft.arg) + size}) cannot be larger than {PAYLOAD_LIMIT}"
        )
    draft.arg += execution.read(source, size)


@function("l", "", "U Ry Rt T")
def call_cycles_add(execution: Execution, amount: int) -> None:
    """Send cycles with the call."""
    _attach(execution, amount)


@function("ll", "", "U Ry Rt T")
def call_cycles_add128(execution: Execution, high: int, low: int) -> None:
    """Send cycles with the call."""
    _attach(execution, high << 64 | low)


@function("i", "", "U Ry Rt T")
def call_with_best_effort_response(execution: Execution, timeout_seconds: int) -> None:
    """Wait that long only. A call here is answered in time, since nothing can be lost."""
    _draft(execution, "call_with_best_effort_response")


@function("", "i", CALLING)
def call_perform(execution: Execution) -> int:
    """Have the call made. 2 where there are too many."""
    draft = _draft(execution, "call_perform")
    if len(execution.env.calls) >= QUEUE_LIMIT:
        execution.drop_draft()
        return 2
    execution.draft = None
    execution.perform(draft)
    return 0


def _draft(execution: Execution, name: str) -> Draft:
    if execution.draft is None:
        raise ContractViolation(f"ic0.{name} was called without ic0.call_new before it")
    return execution.draft


def _attach(execution: Execution, amount: int) -> None:
    draft = _draft(execution, "call_cycles_add")
    cycles = execution.env.cycles
    if amount > cycles.balance:
        raise ContractViolation(f"{amount} cycles are more than the balance of {cycles.balance}")
    cycles.balance -= amount
    draft.cycles += amount
