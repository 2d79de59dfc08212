"""Quantities with units: durations (``50ms``, ``5m``), sizes (``64KiB``) and rates (``20/s``)."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationInfo

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_RATE = {"s": 1.0, "m": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)")

_PER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,30})?)\s*/\s*([a-z])")

WRITTEN = {"written": True}
"""Validation context of text from users, in which a duration or a rate needs its unit."""


@dataclass(frozen=True)
class Unit:
    """The unit of a number in the configuration."""

    of: Literal["duration", "size", "rate"]

    def format(self, value: float) -> str:
        """The value as it is written in the file."""
        return _FORMATS[self.of](value)


def parse_duration(value: object) -> float:
    """Seconds of a text such as ``50ms``, ``1.5s``, ``5m``, ``1h`` or ``30d``.

    Raises ValueError: a number without a unit too, because it could be seconds or milliseconds.
    """
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _DURATION:
        raise ValueError(f"{value!r} is not a duration; write a number with a unit: ms, s, m, h or d, e.g. 500ms")
    # Divide, because 50 * 0.001 is not the float 0.05.
    return float(match[1]) / 1000 if match[2] == "ms" else float(match[1]) * _DURATION[match[2]]


def parse_size(value: object) -> int:
    """Bytes of a number or a text such as ``64KiB`` or ``2MB``. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None or match[2] not in _SIZE:
        raise ValueError(f"{value!r} is not a size; write bytes or a number with KiB, MiB, GiB, kB, MB or GB")
    return int(float(match[1]) * _SIZE[match[2]]) if "." in match[1] else int(match[1]) * _SIZE[match[2]]


def parse_rate(value: object) -> float:
    """Events per second of a text such as ``20/s``, ``90/m`` or ``1.5/h``. Raises ValueError."""
    match = _PER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _RATE:
        raise ValueError(f"{value!r} is not a rate; write a number per second, minute or hour, e.g. 20/s, 90/m or 6/h")
    return float(match[1]) / _RATE[match[2]]


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


_FORMATS = {"duration": format_duration, "size": lambda value: format_size(int(value)), "rate": format_rate}


def _rate(value: object, info: ValidationInfo) -> object:
    in_code = isinstance(value, float) and info.context != WRITTEN
    return value if in_code else parse_rate(value)


def _duration(value: object, info: ValidationInfo) -> object:
    in_code = isinstance(value, float) and info.context != WRITTEN
    return value if in_code else parse_duration(value)


Duration = Annotated[float, BeforeValidator(_duration), Unit("duration")]
"""Seconds; written with a unit. In code a float is taken as seconds."""

Size = Annotated[int, BeforeValidator(parse_size), Unit("size")]
"""Bytes; written as a number or with a unit."""

Rate = Annotated[float, BeforeValidator(_rate), Unit("rate")]
"""Events per second; written as ``N/s``, ``N/m`` or ``N/h``. In code a float is taken as per second."""
