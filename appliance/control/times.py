"""Times as the API writes them."""

from datetime import UTC, datetime


def moment(at_ns: int) -> datetime:
    """A time that is nanoseconds since 1970; microseconds are what is left of it."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).replace(microsecond=at_ns // 1000 % 10**6)
