"""Codes and reasons of close frames."""

MAX_REASON = 123
"""Bytes of a close reason: a control frame has 125, the code takes two (RFC 6455 section 5.5)."""
COMMON_CODES = frozenset(range(1000, 1016)) | {4000, 4001}
"""Close codes of clients that are counted one by one, so that nobody can make the counters grow."""


def cut_reason(text: str) -> str:
    """At most 123 bytes of UTF-8, cut between characters."""
    data = text.encode()
    return text if len(data) <= MAX_REASON else data[: MAX_REASON - 3].decode(errors="ignore") + "…"
