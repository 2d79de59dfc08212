"""How system functions are declared, and the kinds of execution (interface specification, "Overview of imports")."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kinds of execution, by their letters in the specification. Most functions are for some of them only."""

    START = "s"
    INIT = "I"
    PRE_UPGRADE = "G"
    UPDATE = "U"
    REPLICATED_QUERY = "RQ"
    QUERY = "NRQ"
    COMPOSITE = "CQ"
    REPLY = "Ry"
    REJECT = "Rt"
    CLEANUP = "C"
    COMPOSITE_REPLY = "CRy"
    COMPOSITE_REJECT = "CRt"
    COMPOSITE_CLEANUP = "CC"
    INSPECT = "F"
    TASK = "T"

    @property
    def title(self) -> str:
        """Its name in messages."""
        return TITLES[self]


TITLES = {
    Kind.START: "the start function",
    Kind.INIT: "canister_init or canister_post_upgrade",
    Kind.PRE_UPGRADE: "canister_pre_upgrade",
    Kind.UPDATE: "an update method",
    Kind.REPLICATED_QUERY: "a query method that is executed replicated",
    Kind.QUERY: "a query method",
    Kind.COMPOSITE: "a composite query method",
    Kind.REPLY: "a reply callback",
    Kind.REJECT: "a reject callback",
    Kind.CLEANUP: "a cleanup callback",
    Kind.COMPOSITE_REPLY: "a reply callback of a composite query",
    Kind.COMPOSITE_REJECT: "a reject callback of a composite query",
    Kind.COMPOSITE_CLEANUP: "a cleanup callback of a composite query",
    Kind.INSPECT: "canister_inspect_message",
    Kind.TASK: "a timer or heartbeat",
}

EVERY = frozenset(Kind)
UNREPLICATED = frozenset(
    {Kind.QUERY, Kind.COMPOSITE, Kind.COMPOSITE_REPLY, Kind.COMPOSITE_REJECT, Kind.COMPOSITE_CLEANUP, Kind.INSPECT}
)

QUERY_LIMIT = 5_000_000_000
UPDATE_LIMIT = 40_000_000_000
INSTALL_LIMIT = 300_000_000_000
INSPECT_LIMIT = 200_000_000
"""Instructions that a message may execute on the IC; here they are the units of fuel of the engine, about as many."""

LIMITS = {
    **dict.fromkeys(EVERY, UPDATE_LIMIT),
    **dict.fromkeys(UNREPLICATED, QUERY_LIMIT),
    **dict.fromkeys((Kind.START, Kind.INIT, Kind.PRE_UPGRADE), INSTALL_LIMIT),
    Kind.INSPECT: INSPECT_LIMIT,
}


def kinds(letters: str) -> frozenset[Kind]:
    """The kinds with these letters, separated by spaces; ``*`` is all but the start function, ``* s`` is all."""
    if letters == "* s":
        return EVERY
    return EVERY - {Kind.START} if letters == "*" else frozenset(Kind(letter) for letter in letters.split())


TYPES = {"i": "i32", "l": "i64"}


@dataclass(frozen=True)
class SystemFunction:
    """A function of ``ic0``: its signature, the kinds of execution that may call it, and its implementation.

    Parameters and results are letters: ``i`` and ``l`` are i32 and i64, ``p`` is as wide as the module's pointers.
    """

    name: str
    parameters: str
    results: str
    allowed: frozenset[Kind]
    is_for_32_bits: bool
    run: Callable[..., int | None]

    def signature(self, pointer: str) -> tuple[list[str], list[str]] | None:
        """Its types for a module with such pointers; None where it is not for that."""
        if self.is_for_32_bits and pointer == "i64":
            return None
        types = {**TYPES, "p": pointer}
        return [types[letter] for letter in self.parameters], [types[letter] for letter in self.results]


class SystemFunctions:
    """The system functions that one module of ours defines, in ``functions`` by name."""

    def __init__(self) -> None:
        self.functions: dict[str, SystemFunction] = {}

    def function(
        self, parameters: str, results: str, allowed: str, *, is_for_32_bits: bool = False
    ) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
        """Declare the decorated function under its own name.

        It gets the execution and then its arguments as unsigned numbers. ``allowed`` are letters as in `kinds`.
        """

        def declare(run: Callable[..., int | None]) -> Callable[..., int | None]:
            name = run.__name__
            self.functions[name] = SystemFunction(name, parameters, results, kinds(allowed), is_for_32_bits, run)
            return run

        return declare
