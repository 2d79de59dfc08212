"""The methods of the management canister: who may call them, and how calls are rejected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import CandidError
from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import CallContext
from appliance.localnet.canisters.chunk_store import ChunkStoreError
from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Rejection

MAX_CONTROLLERS = 10
EFFECTIVE_ID_FIELDS = {
    "install_chunked_code": "target_canister",
    "create_canister": None,
    "provisional_create_canister_with_cycles": None,
    "raw_rand": None,
}
"""The field with the effective canister id, where it is not ``canister_id``; None for methods without one."""

FOR_EVERYBODY = frozenset({"provisional_top_up_canister"})
"""Methods about a canister that any user may call, not only its controllers."""

CANISTERS_ONLY = frozenset({"deposit_cycles", "raw_rand", "canister_info", "fetch_canister_logs"})
QUERIES = frozenset({"canister_status", "fetch_canister_logs"})


class CallRejected(Exception):
    """The call is rejected, with the replica's error code, whose hundreds are the reject code."""

    def __init__(self, error_code: str, text: str) -> None:
        super().__init__(text)
        self.rejection = Rejection(int(error_code[3]), text, error_code)


@dataclass(frozen=True)
class ChangeOrigin:
    """The caller that changes a canister, a user or a canister ("change origin" of the canister history)."""

    principal: Principal
    is_user: bool = True


def decode(method: str, arg: bytes) -> dict[str, Any]:
    """The record that a method takes. Raises CallRejected."""
    if method in NOT_OFFERED:
        text = f"this local network does not offer the method '{method}' of the management canister"
        raise CallRejected("IC0406", text)
    if method not in METHODS:
        raise CallRejected("IC0536", f"Management canister has no method '{method}'")
    try:
        values: tuple[Any, ...] = METHODS[method].arguments.decode(arg)
    except CandidError as error:
        raise CallRejected("IC0408", f"Error decoding candid: {error.problem}") from error
    return values[0] if values else {}


def subject(args: dict[str, Any], field: str) -> Principal:
    """The effective canister id."""
    return Principal(args[field])


def change_origin_of(context: CallContext) -> ChangeOrigin:
    """The caller as an origin of changes."""
    return ChangeOrigin(context.caller, is_user=isinstance(context.origin, Call))


def check_controllers(controllers: list[Principal]) -> None:
    """Raises CallRejected where there are too many."""
    if len(set(controllers)) > MAX_CONTROLLERS:
        text = f"{len(set(controllers))} controllers, at most {MAX_CONTROLLERS} are allowed"
        raise CallRejected("IC0408", f"Error decoding candid: {text}")


def from_chunk_store(use: Callable[[], bytes]) -> bytes:
    """Call ``use``, with errors of the chunk store raised as CallRejected."""
    try:
        return use()
    except ChunkStoreError as problem:
        raise CallRejected("IC0504", f"Error from Wasm chunk store: {problem}") from problem
