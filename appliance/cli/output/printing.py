"""What commands print: lines for people, JSON for programs."""

from collections.abc import Iterable
from typing import Any

import click
import orjson
from pydantic import BaseModel

from appliance.cli.remote.api_options import wants_json


def tell(answer: Any, lines: Iterable[str]) -> None:
    """Print an answer of the API as JSON if that is wanted, else these lines."""
    if wants_json():
        click.echo(json_text(answer))
    else:
        for line in lines:
            click.echo(line)


def json_text(answer: Any, *, compact: bool = False) -> str:
    """JSON of a model, or of plain values."""
    value = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    return orjson.dumps(value, default=str, option=0 if compact else orjson.OPT_INDENT_2).decode()
