"""Which methods the management canister has, whom they are for, and how a refusal is told in the replica's words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import CandidError
from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import CallContext
from appliance.localnet.canisters.chunk_store import ChunkProblem
from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Rejection

MAX_CONTROLLERS = 10
SUBJECTS = {
    "install_chunked_code": "target_canister",
    "create_canister": None,
    "provisional_create_canister_with_cycles": None,
    "raw_rand": None,
}
"""The field that names the canister that a method is about, where it is not ``canister_id``."""

OPEN = frozenset({"provisional_top_up_canister"})
"""Methods about a canister that users may call who are not its controllers."""

FOR_CANISTERS = frozenset({"deposit_cycles", "raw_rand", "canister_info", "fetch_canister_logs"})
QUERIES = frozenset({"canister_status", "fetch_canister_logs"})


class Refusal(Exception):
    """A method that is not executed, with the replica's error code, whose hundreds are the reject code."""

    def __init__(self, error_code: str, text: str) -> None:
        super().__init__(text)
        self.rejection = Rejection(int(error_code[3]), text, error_code)


@dataclass(frozen=True)
class Author:
    """Who changes something, and whether that is a user."""

    principal: Principal
    is_user: bool = True


def decode(method: str, arg: bytes) -> dict[str, Any]:
    """The record that a method takes. Raises Refusal."""
    if method in NOT_OFFERED:
        text = f"this local network does not offer the method '{method}' of the management canister"
        raise Refusal("IC0406", text)
    if method not in METHODS:
        raise Refusal("IC0536", f"Management canister has no method '{method}'")
    try:
        values: tuple[Any, ...] = METHODS[method].arguments.decode(arg)
    except CandidError as error:
        raise Refusal("IC0408", f"Error decoding candid: {error.problem}") from error
    return values[0] if values else {}


def subject(args: dict[str, Any], field: str) -> Principal:
    """The canister that a method is about."""
    return Principal(args[field])


def author_of(context: CallContext) -> Author:
    """Who calls."""
    return Author(context.caller, is_user=isinstance(context.origin, Call))


def check_controllers(controllers: list[Principal]) -> None:
    """Raises Refusal where there are too many."""
    if len(set(controllers)) > MAX_CONTROLLERS:
        text = f"{len(set(controllers))} controllers, at most {MAX_CONTROLLERS} are allowed"
        raise Refusal("IC0408", f"Error decoding candid: {text}")


def stored(use: Callable[[], bytes]) -> bytes:
    """What a use of a chunk store returns. Raises Refusal."""
    try:
        return use()
    except ChunkProblem as problem:
        raise Refusal("IC0504", f"Error from Wasm chunk store: {problem}") from problem
