"""Quantities as people write them: durations (``50ms``, ``5m``) and sizes (``64KiB``)."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_duration(value: object) -> float:
    """Seconds of a text such as ``50ms``, ``1.5s``, ``5m``, ``1h`` or ``30d``.

    Raises ValueError: a number without a unit too, because nobody can tell seconds from milliseconds.
    """
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _DURATION:
        raise ValueError(f"{value!r} is not a duration; write a number with a unit: ms, s, m, h or d, e.g. 500ms")
    return float(match[1]) * _DURATION[match[2]]


def parse_size(value: object) -> int:
    """Bytes of a number or a text such as ``64KiB`` or ``2MB``. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None or match[2] not in _SIZE:
        raise ValueError(f"{value!r} is not a size; write bytes or a number with KiB, MiB, GiB, kB, MB or GB")
    return int(float(match[1]) * _SIZE[match[2]])


def _duration(value: object) -> object:
    return value if isinstance(value, float) else parse_duration(value)


def _size(value: object) -> object:
    return parse_size(value)


Duration = Annotated[float, BeforeValidator(_duration)]
"""Seconds; written with a unit. A float is taken as seconds, for defaults and code."""

Size = Annotated[int, BeforeValidator(_size)]
"""Bytes; written as a number or with a unit."""
