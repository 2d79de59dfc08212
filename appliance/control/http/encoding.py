"""JSON as the API writes it."""

from typing import Any

import orjson
from starlette.responses import JSONResponse

PROBLEM_TYPE = "application/problem+json"


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """Serialise; what JSON does not know is written as text."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Compact JSON. Principals, paths and the like are written as text."""
    return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
