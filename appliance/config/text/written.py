"""A configuration as plain values of JSON and YAML, in the spelling of a file, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from appliance.config.fields.units import WRITTEN
from appliance.config.problems import problem_of, unit_of
from appliance.config.schema import Config, Section
from appliance.config.text.document import key_text
from appliance.errors import ConfigError, ConfigProblem
from appliance.ic.principal import Principal


def written(section: Section) -> dict[str, Any]:
    """Every key of a section with its value as a file has it: ``50ms``, ``64KiB``, ``bkyz2-…``."""
    return {name: written_value(getattr(section, name), field) for name, field in type(section).model_fields.items()}


def written_value(value: Any, field: FieldInfo | None = None) -> Any:
    """The value of one field as a file has it."""
    if isinstance(value, Section):
        return written(value)
    if isinstance(value, list):
        return [written_value(part) for part in value]
    if isinstance(value, Path | Principal):
        return str(value)
    unit = unit_of(field)
    return unit.format(value) if unit and value is not None else value


def read_back(values: Mapping[str, Any]) -> Config:
    """The inverse of `written`. Raises ConfigError for values that do not fit together."""
    try:
        return Config.model_validate(values, context=WRITTEN)
    except ValidationError as errors:
        raise ConfigError(
            [ConfigProblem("", key_text(error["loc"]), problem_of(error)) for error in errors.errors()]
        ) from None
