"""Codes and reasons of close frames."""

from appliance.errors import ClosedByOperator, GatewayError

MAX_REASON = 123
"""Bytes of a close reason: a control frame has 125, the code takes two (RFC 6455 section 5.5)."""
COMMON_CODES = frozenset(range(1000, 1016)) | {4000, 4001}
"""Close codes of clients that are counted one by one, so that nobody can make the counters grow."""


def cut_reason(text: str) -> str:
    """At most 123 bytes of UTF-8, cut between characters."""
    data = text.encode()
    return text if len(data) <= MAX_REASON else data[: MAX_REASON - 3].decode(errors="ignore") + "…"


def close_of(error: Exception) -> tuple[int, str]:
    """The code and the sentence to close a socket with. What is not one of ours is not told."""
    told = error if isinstance(error, GatewayError) else GatewayError()
    return told.code if isinstance(told, ClosedByOperator) else told.close_code, str(told)


def reason_of(error: Exception | None) -> str | None:
    """The label that a close counts by; None where no error of ours caused it."""
    if isinstance(error, GatewayError):
        return error.reason
    return None if error is None else "internal"
