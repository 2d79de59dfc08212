"""How a call ends (IC interface specification, "Reject codes"; error codes of the replica such as ``IC0503``)."""

from dataclasses import dataclass
from typing import TypeAlias

SYS_FATAL, SYS_TRANSIENT, DESTINATION_INVALID, CANISTER_REJECT, CANISTER_ERROR = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Reply:
    """The reply to a call, Candid bytes."""

    arg: bytes


@dataclass(frozen=True)
class Rejection:
    """The reject response to a call."""

    code: int
    message: str
    error_code: str

    def to_cbor(self) -> dict[str, str | int]:
        """The fields as they are named in responses."""
        return {"reject_code": self.code, "reject_message": self.message, "error_code": self.error_code}


Outcome: TypeAlias = Reply | Rejection
