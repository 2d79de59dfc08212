"""The text of a configuration that is not the gateway's own file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config.load import read_text
from appliance.config.text.document import MAX_BYTES, decode
from appliance.control.client import ConfigRefused, ControlRefused, error_of
from appliance.control.models import Fault, ProblemDetails

STDIN = Path("-")
_TEXT = "text"
"""What the gateway calls a text that it was sent."""


def text_of(file: Path | None) -> str | None:
    """What a file holds, ``-`` being standard input; None for None. Raises ConfigError."""
    if file is None:
        return None
    if file == STDIN:
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    return read_text(file)


@contextmanager
def called(file: Path | None) -> Iterator[None]:
    """Let what is wrong with a text that was sent be told with the name of the file that it is from."""
    try:
        yield
    except ControlRefused as error:
        raise error_of(renamed(error.details, file), error.place) from error
    except ConfigRefused as error:
        raise error_of(renamed(error.details, file), str(file)) from error


def renamed(details: ProblemDetails, file: Path | None) -> ProblemDetails:
    """The same problem, its places in this file."""
    if file is None:
        return details
    faults = None if details.errors is None else [_renamed(fault, file) for fault in details.errors]
    detail = details.detail.replace(f"{_TEXT}:", f"{_name(file)}:")
    return details.model_copy(update={"errors": faults, "detail": detail})


def _renamed(fault: Fault, file: Path) -> Fault:
    head, colon, rest = fault.place.partition(":")
    return fault.model_copy(update={"place": f"{_name(file)}{colon}{rest}"}) if head == _TEXT else fault


def _name(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)
