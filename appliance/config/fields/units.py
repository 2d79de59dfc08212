"""Quantities with units: durations (``50ms``), sizes (``64KiB``), rates (``20/s``) and bandwidths (``4MiB/s``)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationInfo

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_ALIASES = {"msec": "ms", "sec": "s", "min": "m", "hour": "h", "hours": "h", "day": "d", "days": "d"}
_SIZE = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
# A letter alone is binary, as for systemd, nginx, HAProxy and Docker.
_SIZE_ALIASES = {"K": "KiB", "k": "KiB", "M": "MiB", "m": "MiB", "G": "GiB", "g": "GiB", "KB": "kB"}
_RATE = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE_ALIASES = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h"}

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,30})?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)")
_PER = re.compile(rf"({_NUMBER})\s*/\s*([a-z]+)")
_COMPOUND = re.compile(rf"(?:{_NUMBER}\s*[a-z]+\s*){{2,}}")
"""Several quantities in a row, such as ``1m30s``, or ``1m 3s`` as durations are printed."""


def _spellings(units: Iterable[str], aliases: Iterable[str]) -> str:
    # the longest first, and always in the same order: whoever keeps the schema in a repository sees no change in it
    return "|".join(sorted({*units, *aliases}, key=lambda unit: (-len(unit), unit)))


_A_DURATION = rf"{_NUMBER}\s*({_spellings(_DURATION, _DURATION_ALIASES)})"
PATTERNS = {
    "duration": rf"^{_A_DURATION}(\s*{_A_DURATION})*$",
    "size": rf"^{_NUMBER}\s*({_spellings(_SIZE, _SIZE_ALIASES)})$",
    "bandwidth": rf"^{_NUMBER}\s*({_spellings(_SIZE, _SIZE_ALIASES)})\s*/\s*s$",
    "rate": rf"^{_NUMBER}\s*/\s*({_spellings(_RATE, _RATE_ALIASES)})$",
}
"""Regular expressions of what is taken, for programs that check a file."""

WRITTEN = {"written": True}
"""Validation context of text from users, in which a duration or a rate needs its unit."""


@dataclass(frozen=True)
class Unit:
    """The unit of a number in the configuration."""

    of: Literal["duration", "size", "rate", "bandwidth"]

    def format(self, value: float) -> str:
        """The value as it is written in the file."""
        return _FORMATS[self.of](value)


def parse_duration(value: object) -> float:
    """Seconds of a text such as ``50ms``, ``1.5s``, ``5m``, ``1h``, ``30d`` or ``1m30s``.

    Raises ValueError: a number without a unit too, because it could be seconds or milliseconds.
    """
    if not isinstance(value, str):
        raise _not_a_duration(value)
    if _COMPOUND.fullmatch(value):
        return _sum(value)
    return _single(value, value)


def _single(text: str, whole: str) -> float:
    match = _QUANTITY.fullmatch(text)
    unit = _DURATION_ALIASES.get(match[2], match[2]) if match else ""
    if match is None or unit not in _DURATION:
        raise _not_a_duration(whole)
    # Divide, because 50 * 0.001 is not the float 0.05.
    return float(match[1]) / 1000 if unit == "ms" else float(match[1]) * _DURATION[unit]


def _sum(text: str) -> float:
    """The sum of several quantities, the largest unit first and each unit once: ``30s1m`` is more likely a slip."""
    parts = [match[0] for match in _QUANTITY.finditer(text)]
    units = [_single(f"1{part.lstrip('0123456789. ')}", text) for part in parts]
    if any(larger <= smaller for larger, smaller in pairwise(units)):
        raise _not_a_duration(text)
    return sum(_single(part, text) for part in parts)


def _not_a_duration(value: object) -> ValueError:
    return ValueError(f"{value!r} is not a duration; write a number with a unit: ms, s, m, h or d, e.g. 500ms or 1m30s")


def parse_size(value: object) -> int:
    """Bytes of a number or a text such as ``64KiB``, ``64K`` (the same) or ``2MB``. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    unit = _SIZE_ALIASES.get(match[2], match[2]) if match else "?"
    if match is None or unit not in _SIZE:
        raise ValueError(f"{value!r} is not a size; write bytes or a number with KiB, MiB, GiB, kB, MB or GB")
    return int(float(match[1]) * _SIZE[unit]) if "." in match[1] else int(match[1]) * _SIZE[unit]


def parse_rate(value: object) -> float:
    """Events per second of a text such as ``20/s``, ``90/m`` or ``1.5/h``. Raises ValueError."""
    match = _PER.fullmatch(value) if isinstance(value, str) else None
    unit = _RATE_ALIASES.get(match[2], match[2]) if match else "?"
    if match is None or unit not in _RATE:
        raise ValueError(f"{value!r} is not a rate; write a number per second, minute or hour, e.g. 20/s, 90/m or 6/h")
    return float(match[1]) / _RATE[unit]


def parse_bandwidth(value: object) -> float:
    """Bytes per second of a text such as ``4MiB/s``. Raises ValueError."""
    size, slash, second = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        found = parse_size(size.strip())
    except ValueError:
        found = -1
    if found < 0 or not slash or second.strip() != "s":
        raise ValueError(f"{value!r} is not a bandwidth; write a size per second, e.g. 4MiB/s")
    return float(found)


def format_duration(seconds: float) -> str:
    """A text that parse_duration reads as these seconds, in the largest unit that divides them."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _DURATION[unit] == 0:
            return f"{seconds / _DURATION[unit]:.0f}{unit}"
    milliseconds = round(seconds * 1000)
    if 0 < seconds < 1 and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    return f"{_plain(seconds)}s"


def format_size(size: int) -> str:
    """A text that parse_size reads as this many bytes, in the largest unit that divides them."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE[unit] == 0:
            return f"{size // _SIZE[unit]}{unit}"
    return str(size)


def format_bandwidth(bandwidth: float) -> str:
    """A text that parse_bandwidth reads as this many bytes per second."""
    return f"{format_size(int(bandwidth))}/s"


def format_rate(rate: float) -> str:
    """A text that parse_rate reads as this rate, per second if that is a whole number."""
    for unit, seconds in _RATE.items():
        number = round(rate * seconds)
        if number and number / seconds == rate:
            return f"{number}/{unit}"
    return f"{_plain(rate)}/s"


def _plain(number: float) -> str:
    """The shortest text that is this number, without an exponent."""
    text = f"{Decimal(repr(number)):f}"
    return text.removesuffix(".0")


_FORMATS = {
    "duration": format_duration,
    "size": lambda value: format_size(int(value)),
    "rate": format_rate,
    "bandwidth": format_bandwidth,
}


def _rate(value: object, info: ValidationInfo) -> object:
    in_code = isinstance(value, float) and info.context != WRITTEN
    return value if in_code else parse_rate(value)


def _bandwidth(value: object, info: ValidationInfo) -> object:
    in_code = isinstance(value, float) and info.context != WRITTEN
    return value if in_code else parse_bandwidth(value)


def _duration(value: object, info: ValidationInfo) -> object:
    in_code = isinstance(value, float) and info.context != WRITTEN
    return value if in_code else parse_duration(value)


Duration = Annotated[float, BeforeValidator(_duration), Unit("duration")]
"""Seconds; written with a unit. In code a float is taken as seconds."""

Size = Annotated[int, BeforeValidator(parse_size), Unit("size")]
"""Bytes; written as a number or with a unit."""

Rate = Annotated[float, BeforeValidator(_rate), Unit("rate")]
"""Events per second; written as ``N/s``, ``N/m`` or ``N/h``. In code a float is taken as per second."""

Bandwidth = Annotated[float, BeforeValidator(_bandwidth), Unit("bandwidth")]
"""Bytes per second; written as a size per second. In code a float is taken as bytes per second."""
