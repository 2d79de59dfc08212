"""Finds the address of a gateway's API in its configuration, even if the rest of the file is invalid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.config.fields.address import UNIX
from appliance.config.fields.values import in_folder
from appliance.config.load import read_text
from appliance.config.schema import Config
from appliance.config.text.document import read_document, read_value
from appliance.errors import ConfigError

VARIABLE = "ICWS_CONTROL__LISTEN"


def control_listen(file: Path, environment: Mapping[str, str]) -> tuple[str | None, str]:
    """Return an address of ``control.listen`` with an absolute path, and its source; None without a control plane."""
    if environment.get(VARIABLE, "").strip():  # an empty variable counts as not set, as for the gateway
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
    """The first Unix socket, which needs no token, else the first address."""
    mark = in_folder(type(Config().control).model_fields["listen"])
    listed = [] if value is None else value if isinstance(value, list) else [value]
    found = sorted(map(str, listed), key=lambda address: not address.startswith(UNIX))
    return None if mark is None or not found else str(mark.absolute(found[0], folder))
