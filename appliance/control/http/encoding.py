"""JSON and timestamps, as the API writes them."""

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import JSONResponse

PROBLEM_TYPE = "application/problem+json"


class OrjsonResponse(JSONResponse):
    """A response whose body is JSON, written by orjson."""

    def render(self, content: Any) -> bytes:
        """Serialise as `to_json` does."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Compact JSON. Types that JSON does not have, such as principals and paths, become text."""
    return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


def timestamp(at_ns: int) -> datetime:
    """The time ``at_ns`` nanoseconds after 1970, in UTC, truncated to microseconds."""
    # datetime.fromtimestamp(at_ns / 1e9) would go through a float, which has no room for microseconds of this century
    return datetime.fromtimestamp(at_ns // 10**9, UTC).replace(microsecond=at_ns // 1000 % 10**6)
