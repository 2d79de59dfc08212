"""System functions that tell what something will cost in cycles: nothing, since nothing is charged for here.

What this network does not offer at all, such as threshold signatures, is said in words by the call itself.
"""

from appliance.localnet.wasm.execution import Execution
from appliance.localnet.wasm.ic0_cycles import write_number
from appliance.localnet.wasm.registry import function

UNKNOWN_KEY = 2


@function("llp", "", "* s")
def cost_call(execution: Execution, name_size: int, payload_size: int, target: int) -> None:
    """Of a call."""
    write_number(execution, target, 0)


@function("p", "", "* s")
def cost_create_canister(execution: Execution, target: int) -> None:
    """Of a canister."""
    write_number(execution, target, 0)


@function("llp", "", "* s")
def cost_http_request(execution: Execution, request_size: int, answer_limit: int, target: int) -> None:
    """Of an HTTP outcall."""
    write_number(execution, target, 0)


@function("ppp", "", "* s")
def cost_http_request_v2(execution: Execution, source: int, size: int, target: int) -> None:
    """Of an HTTP outcall."""
    write_number(execution, target, 0)


@function("ppip", "i", "* s")
def cost_sign_with_ecdsa(execution: Execution, name: int, size: int, curve: int, target: int) -> int:
    """Of a signature; this network has no such keys."""
    return UNKNOWN_KEY


@function("ppip", "i", "* s")
def cost_sign_with_schnorr(execution: Execution, name: int, size: int, algorithm: int, target: int) -> int:
    """Of a signature; this network has no such keys."""
    return UNKNOWN_KEY


@function("ppip", "i", "* s")
def cost_vetkd_derive_key(execution: Execution, name: int, size: int, curve: int, target: int) -> int:
    """Of a derived key; this network has no such keys."""
    return UNKNOWN_KEY
