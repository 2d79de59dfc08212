"""The text of a configuration that is not the gateway's own file."""

import sys
from pathlib import Path

from appliance.config.document import MAX_BYTES, decode
from appliance.config.load import read_text


def text_of(file: Path | None) -> str | None:
    """What a file holds, ``-`` being standard input; None for None. Raises ConfigError."""
    if file is None:
        return None
    if str(file) == "-":
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    return read_text(file)
