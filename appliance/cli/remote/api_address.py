"""Finds the address of a gateway's API in its configuration, even if the rest of the file is invalid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.config.fields.values import in_folder
from appliance.config.load import read_text
from appliance.config.schema import Config
from appliance.config.text.document import read_document, read_value
from appliance.errors import ConfigError

VARIABLE = "ICWS_CONTROL__LISTEN"


def control_listen(file: Path, environment: Mapping[str, str]) -> tuple[str | None, str]:
    """Return ``control.listen`` with an absolute path, and its source; None if there is no control plane."""
    if VARIABLE in environment:
        return _absolute(_value(environment[VARIABLE]), Path.cwd()), VARIABLE
    default = type(Config().control).model_fields["listen"].default
    folder = file.absolute().parent
    try:
        # Not config.load: one invalid key elsewhere would keep operators from the gateway when they need it most.
        control = _section(read_document(read_text(file), str(file)).value, "control")
    except ConfigError:
        return _absolute(default, folder), f"the default, as {file} cannot be read"
    if "listen" not in control:
        return _absolute(default, folder), f"the default for {file}"
    return _absolute(control["listen"], folder), str(file)


def _section(value: object, name: str) -> Mapping[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _value(text: str) -> object:
    try:
        return read_value(text, VARIABLE).value
    except ConfigError:
        return text


def _absolute(value: object, folder: Path) -> str | None:
    mark = in_folder(type(Config().control).model_fields["listen"])
    return None if value is None or mark is None else str(mark.absolute(str(value), folder))
