"""The schema for programs: editors that complete and check ``gateway.yaml`` read JSON Schema.

What the loader takes is valid here. What depends on several keys, or is read from text (the bounds of a duration, say,
or an address), only the loader checks.
"""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from appliance.config.fields.effect import Effect
from appliance.config.fields.units import PATTERNS
from appliance.config.fields.values import digits_as_text, none_or_several, one_or_several
from appliance.config.problems import effect_of, section_in, unit_of
from appliance.config.schema import Config, Section
from appliance.config.text.written import written_value
from appliance.described import description_of
from appliance.ic.principal import Principal

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_UNITS: dict[str, Schema] = {
    "duration": {"type": "string", "pattern": PATTERNS["duration"]},
    "size": {"type": ["integer", "string"], "pattern": PATTERNS["size"]},
    "rate": {"type": "string", "pattern": PATTERNS["rate"]},
    "bandwidth": {"type": "string", "pattern": PATTERNS["bandwidth"]},
}
_PLAIN: dict[object, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    Principal: {"type": "string"},
    Any: {},
}
_FACTS: tuple[tuple[type, str, str], ...] = (
    (Ge, "ge", "minimum"),
    (Le, "le", "maximum"),
    (MinLen, "min_length", "minLength"),
    (MaxLen, "max_length", "maxLength"),
)


def json_schema() -> Schema:
    """Of the whole file."""
    parts: dict[str, Schema] = {}
    whole = _section(Config, parts)
    return {"$schema": DIALECT, "title": "gateway.yaml", **whole, "$defs": dict(sorted(parts.items()))}


def _section(section: type[Section], parts: dict[str, Schema]) -> Schema:
    """A section; those in it go to the parts."""
    properties = {name: _field(section, name, parts) for name in section.model_fields}
    schema: Schema = {"description": _one_line(inspect.getdoc(section)), "type": "object", "properties": properties}
    required = [name for name, field in section.model_fields.items() if field.is_required()]
    return schema | ({"required": required} if required else {}) | {"additionalProperties": False}


def _field(section: type[Section], name: str, parts: dict[str, Schema]) -> Schema:
    field, meaning = section.model_fields[name], description_of(section, name)
    schema = _unit(field) or _type(field.annotation, parts)
    schema = _narrowed(schema, field.metadata)
    inner = section_in(field.annotation)
    if meaning or inner is None:
        schema = {"description": _one_line(meaning), **schema}
    if not field.is_required() and (inner is None or not isinstance(field.default, Section)):
        schema = {**schema, "default": written_value(field.default, field)}
    effect: Effect | None = effect_of(field)
    return {**schema, "x-change": effect.name} if effect else schema


def _unit(field: FieldInfo) -> Schema | None:
    unit = unit_of(field)
    if unit is None:
        return None
    is_optional = type(None) in get_args(field.annotation)
    return {"anyOf": [dict(_UNITS[unit.of]), {"type": "null"}]} if is_optional else dict(_UNITS[unit.of])


def _type(annotation: Any, parts: dict[str, Schema]) -> Schema:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if annotation.__name__ not in parts:
            parts[annotation.__name__] = {}  # it is named from now on, also by itself
            parts[annotation.__name__] = _section(annotation, parts)
        return {"$ref": f"#/$defs/{annotation.__name__}"}
    if annotation in _PLAIN:
        return dict(_PLAIN[annotation])
    metadata = getattr(annotation, "__metadata__", None)
    if metadata is not None:
        return _narrowed(_type(annotation.__origin__, parts), metadata)
    return _GENERIC.get(get_origin(annotation), _either)(get_args(annotation), parts)


def _literal(choices: tuple[Any, ...], _: dict[str, Schema]) -> Schema:
    return {"enum": list(choices)}


def _list(inner: tuple[Any, ...], parts: dict[str, Schema]) -> Schema:
    return {"type": "array", "items": _type(inner[0], parts)}


def _dict(_inner: tuple[Any, ...], _: dict[str, Schema]) -> Schema:
    return {"type": "object"}


def _either(choices: tuple[Any, ...], parts: dict[str, Schema]) -> Schema:
    """One of several; None is null."""
    return {"anyOf": [{"type": "null"} if each is type(None) else _type(each, parts) for each in choices]}


_GENERIC: dict[object, Callable[[tuple[Any, ...], dict[str, Schema]], Schema]] = {
    Literal: _literal,
    list: _list,
    dict: _dict,
}


def _narrowed(schema: Schema, metadata: Any) -> Schema:
    """With what else must hold. Where null is allowed too it is the other that must hold."""
    if "anyOf" in schema:
        return {"anyOf": [each if each == {"type": "null"} else _narrowed(each, metadata) for each in schema["anyOf"]]}
    found = dict(schema)
    is_number = schema.get("type") in ("integer", "number")
    for fact in _flat(metadata):
        if (pattern := getattr(fact, "pattern", None)) is not None:
            found["pattern"] = pattern
        for kind, name, word in _FACTS:
            if isinstance(fact, kind) and (is_number or word.endswith("Length")):
                found[word.replace("Length", "Items") if schema.get("type") == "array" else word] = getattr(fact, name)
    for before in (fact.func for fact in metadata if isinstance(fact, BeforeValidator)):
        if before in (one_or_several, none_or_several):
            null: list[Schema] = [{"type": "null"}] if before is none_or_several else []
            return {"anyOf": [found, found["items"], *null]}
        if before is digits_as_text:
            return {**found, "type": ["string", "integer"]}
    return found


def _flat(metadata: Any) -> Iterator[Any]:
    for fact in metadata:
        yield from fact.metadata if isinstance(fact, FieldInfo) else (fact,)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("``", "`")
