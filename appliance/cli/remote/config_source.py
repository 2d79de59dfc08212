"""The text of a configuration that is sent to the gateway instead of read from its own file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config.load import read_text
from appliance.config.text.document import MAX_BYTES, decode
from appliance.control.client import ConfigRefused, ControlRefused, error_of
from appliance.control.models import Fault, ProblemDetails

STDIN = Path("-")
_SENT_TEXT = "text"
"""The gateway's name for a text that was sent to it, in the places of faults."""


def read_config_text(file: Path | None) -> str | None:
    """Read a file, or standard input for ``-``; None for None. Raises ConfigError."""
    if file is None:
        return None
    if file == STDIN:
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    return read_text(file)


@contextmanager
def errors_naming(file: Path | None) -> Iterator[None]:
    """Rewrite errors about a text that was sent, so that their places name the file that it was read from."""
    try:
        yield
    except ControlRefused as error:
        raise error_of(with_file_name(error.details, file), error.place) from error
    except ConfigRefused as error:
        raise error_of(with_file_name(error.details, file), str(file)) from error


def with_file_name(details: ProblemDetails, file: Path | None) -> ProblemDetails:
    """Return the same problem with this file's name in its places."""
    if file is None:
        return details
    faults = None if details.errors is None else [_fault_with_name(fault, file) for fault in details.errors]
    detail = details.detail.replace(f"{_SENT_TEXT}:", f"{_name(file)}:")
    return details.model_copy(update={"errors": faults, "detail": detail})


def _fault_with_name(fault: Fault, file: Path) -> Fault:
    head, colon, rest = fault.place.partition(":")
    return fault.model_copy(update={"place": f"{_name(file)}{colon}{rest}"}) if head == _SENT_TEXT else fault


def _name(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)
