"""System functions about cycles and costs. Cycles move between canisters; this network charges nothing."""

from appliance.localnet.wasm.execution import ContractViolation, Execution
from appliance.localnet.wasm.system_api import SystemFunctions

WITH_CYCLES = "U RQ Ry Rt"
ANSWERED = "Ry Rt"
NARROW = 2**64
UNKNOWN_KEY = 2
"""The status of a cost for a threshold key that the network does not have."""

ic0 = SystemFunctions()


@ic0.function("", "l", WITH_CYCLES, is_for_32_bits=True)
def msg_cycles_available(execution: Execution) -> int:
    """The cycles of the call that are not accepted yet."""
    return _narrow(execution.env.cycles.available)


@ic0.function("p", "", WITH_CYCLES)
def msg_cycles_available128(execution: Execution, target: int) -> None:
    """The cycles of the call that are not accepted yet."""
    write_number(execution, target, execution.env.cycles.available)


@ic0.function("", "l", ANSWERED, is_for_32_bits=True)
def msg_cycles_refunded(execution: Execution) -> int:
    """The cycles that came back with the response."""
    return _narrow(execution.env.cycles.refunded)


@ic0.function("p", "", ANSWERED)
def msg_cycles_refunded128(execution: Execution, target: int) -> None:
    """The cycles that came back with the response."""
    write_number(execution, target, execution.env.cycles.refunded)


@ic0.function("l", "l", WITH_CYCLES, is_for_32_bits=True)
def msg_cycles_accept(execution: Execution, amount: int) -> int:
    """Take up to that many; returns how many."""
    return execution.env.cycles.accept(amount)


@ic0.function("llp", "", WITH_CYCLES)
def msg_cycles_accept128(execution: Execution, high: int, low: int, target: int) -> None:
    """Take up to that many, and write how many."""
    write_number(execution, target, execution.env.cycles.accept(high << 64 | low))


@ic0.function("llp", "", "I G U RQ Ry Rt C T")
def cycles_burn128(execution: Execution, high: int, low: int, target: int) -> None:
    """Destroy up to that many, and write how many."""
    write_number(execution, target, execution.env.cycles.burn(high << 64 | low))


@ic0.function("", "l", "*", is_for_32_bits=True)
def canister_cycle_balance(execution: Execution) -> int:
    """The canister's cycles."""
    return _narrow(execution.env.cycles.balance)


@ic0.function("p", "", "*")
def canister_cycle_balance128(execution: Execution, target: int) -> None:
    """The canister's cycles."""
    write_number(execution, target, execution.env.cycles.balance)


@ic0.function("p", "", "*")
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


# --- costs: nothing is charged for here ---


@ic0.function("llp", "", "* s")
def cost_call(execution: Execution, name_size: int, payload_size: int, target: int) -> None:
    """Of a call."""
    write_number(execution, target, 0)


@ic0.function("p", "", "* s")
def cost_create_canister(execution: Execution, target: int) -> None:
    """Of a canister."""
    write_number(execution, target, 0)


@ic0.function("llp", "", "* s")
def cost_http_request(execution: Execution, request_size: int, answer_limit: int, target: int) -> None:
    """Of an HTTP outcall."""
    write_number(execution, target, 0)


@ic0.function("ppp", "", "* s")
def cost_http_request_v2(execution: Execution, source: int, size: int, target: int) -> None:
    """Of an HTTP outcall."""
    write_number(execution, target, 0)


@ic0.function("ppip", "i", "* s")
def cost_sign_with_ecdsa(execution: Execution, name: int, size: int, curve: int, target: int) -> int:
    """Of a signature; this network has no such keys."""
    return UNKNOWN_KEY


@ic0.function("ppip", "i", "* s")
def cost_sign_with_schnorr(execution: Execution, name: int, size: int, algorithm: int, target: int) -> int:
    """Of a signature; this network has no such keys."""
    return UNKNOWN_KEY


@ic0.function("ppip", "i", "* s")
def cost_vetkd_derive_key(execution: Execution, name: int, size: int, curve: int, target: int) -> int:
    """Of a derived key; this network has no such keys."""
    return UNKNOWN_KEY
