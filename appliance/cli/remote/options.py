"""What options and arguments of commands may be."""

from typing import Any

import click

from appliance.config.fields.units import parse_duration, parse_rate
from appliance.errors import GatewayError


class _Parsed(click.ParamType[Any]):
    """What one of our parsers reads."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click wants it."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (ValueError, GatewayError) as error:
            self.fail(str(error), param, ctx)


DURATION = _Parsed("duration", parse_duration)
"""Seconds, written as ``60s``."""
RATE = _Parsed("rate", parse_rate)
"""Per second, written as ``100/s``."""
