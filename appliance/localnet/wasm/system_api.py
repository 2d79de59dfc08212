"""The kinds of execution, by the letters that the interface specification's table of system functions has for them."""

from enum import Enum


class Kind(Enum):
    """What runs: most functions are for some of them only."""

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
        """What it is called in sentences."""
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
    """Those whose letters are in the text, separated by spaces; ``*`` is all but the start function."""
    if letters == "* s":
        return EVERY
    return EVERY - {Kind.START} if letters == "*" else frozenset(Kind(letter) for letter in letters.split())
