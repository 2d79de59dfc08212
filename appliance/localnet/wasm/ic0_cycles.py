"""System functions about cycles. They move between canisters and are never charged for here."""

from appliance.localnet.wasm.execution import ContractViolation, Execution
from appliance.localnet.wasm.registry import function

WITH_CYCLES = "U RQ Ry Rt"
ANSWERED = "Ry Rt"
NARROW = 2**64


@function("", "l", WITH_CYCLES, is_for_32_bits=True)
def msg_cycles_available(execution: Execution) -> int:
    """What came with the call and was not accepted."""
    return _narrow(execution.env.cycles.available)


@function("p", "", WITH_CYCLES)
def msg_cycles_available128(execution: Execution, target: int) -> None:
    """What came with the call and was not accepted."""
    write_number(execution, target, execution.env.cycles.available)


@function("", "l", ANSWERED, is_for_32_bits=True)
def msg_cycles_refunded(execution: Execution) -> int:
    """What came back with the response."""
    return _narrow(execution.env.cycles.refunded)


@function("p", "", ANSWERED)
def msg_cycles_refunded128(execution: Execution, target: int) -> None:
    """What came back with the response."""
    write_number(execution, target, execution.env.cycles.refunded)


@function("l", "l", WITH_CYCLES, is_for_32_bits=True)
def msg_cycles_accept(execution: Execution, amount: int) -> int:
    """Take up to that many; returns how many."""
    return execution.env.cycles.accept(amount)


@function("llp", "", WITH_CYCLES)
def msg_cycles_accept128(execution: Execution, high: int, low: int, target: int) -> None:
    """Take up to that many, and write how many."""
    write_number(execution, target, execution.env.cycles.accept(high << 64 | low))


@function("llp", "", "I G U RQ Ry Rt C T")
def cycles_burn128(execution: Execution, high: int, low: int, target: int) -> None:
    """Destroy up to that many, and write how many."""
    write_number(execution, target, execution.env.cycles.burn(high << 64 | low))


@function("", "l", "*", is_for_32_bits=True)
def canister_cycle_balance(execution: Execution) -> int:
    """The canister's cycles."""
    return _narrow(execution.env.cycles.balance)


@function("p", "", "*")
def canister_cycle_balance128(execution: Execution, target: int) -> None:
    """The canister's cycles."""
    write_number(execution, target, execution.env.cycles.balance)


@function("p", "", "*")
def canister_liquid_cycle_balance128(execution: Execution, target: int) -> None:
    """The canister's cycles; here none are reserved."""
    write_number(execution, target, execution.env.cycles.balance)


def write_number(execution: Execution, target: int, number: int) -> None:
    """Write 16 bytes, the lowest first."""
    execution.write(target, number.to_bytes(16, "little"))


def _narrow(number: int) -> int:
    if number >= NARROW:
        raise ContractViolation(f"{number} cycles do not fit into 64 bits, use the function of 128 bits")
    return number
