"""Sentences for values that do not fit the schema, with suggestions."""

import re
from difflib import get_close_matches
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from appliance.config.fields.effect import Effect
from appliance.config.fields.units import Unit
from appliance.config.fields.values import NAME, none_or_several
from appliance.config.schema import Config, Section
from appliance.config.text.document import Path
from appliance.described import description_of

_SHOWN = 60
_TYPES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "path_type": "must be a path",
    "is_instance_of": "has the wrong type",
}
_NO_SPACE = re.compile(r"([a-z_]+):(\S.*)")
"""A key and its value without the space between, which is one text for YAML."""
_ELSEWHERE = {"drain_timeout": "drain.deadline"}
"""Keys of other products, with the name of the key in this one."""
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def problem_of(error: ErrorDetails) -> str:
    """The sentence for one error of validation."""
    kind, value, facts = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(error["loc"])
    if kind == "missing":
        return "is missing, and has no default; write it"
    if kind == "value_error":
        return str(facts["error"])
    if value is None:
        return "has no value; give it one, or remove the line to take the default"
    return _misfit(error)


def suggestion(path: Path) -> str:
    """For an unknown key: ``; did you mean 'listen'?``, or where a key of this name belongs, or nothing."""
    *above, key = path
    section = section_at(tuple(above))
    if key in _ELSEWHERE:
        return f"; did you mean {_ELSEWHERE[str(key)]}?"
    known = list(section.model_fields) if section else []
    written = str(key).lower().replace("-", "_")
    elsewhere = [".".join(place) for place in keys_of(Config) if place[-1] == key]
    # Another section has a key of just this name: that is likelier than one here with a name that is hardly similar.
    if close := get_close_matches(written, known, n=1, cutoff=0.8 if elsewhere else 0.6):
        return f"; did you mean {close[0]!r}?"
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere[:3])}?"
    return f"; known here are {', '.join(known)}" if known else ""


def keys_of(section: type[Section], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key below a section; keys of list items are named like keys of a section."""
    keys: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        keys.append((*above, name))
        if inner := section_in(field.annotation):
            keys.extend(keys_of(inner, (*above, name)))
    return keys


def section_at(path: Path) -> type[Section] | None:
    """The section that a path leads to, through lists too; None where there is none."""
    section: type[Section] | None = Config
    for part in path:
        if section is None:
            return None
        if isinstance(part, str):
            field = section.model_fields.get(part)
            section = section_in(field.annotation) if field else None
    return section


def field_at(path: Path) -> FieldInfo | None:
    """The field that a path names."""
    names = [part for part in path if isinstance(part, str)]
    section = section_at(tuple(names[:-1])) if names else None
    return section.model_fields.get(names[-1]) if section else None


def _meaning_at(path: Path) -> str:
    """What the field means that a path names."""
    *above, name = (part for part in path if isinstance(part, str))
    section = section_at(tuple(above))
    return (description_of(section, name) or "") if section else ""


def unit_of(field: FieldInfo | None) -> Unit | None:
    """The unit of a field, if it has one; also of an optional value."""
    if field is None:
        return None
    inner = (fact for part in get_args(field.annotation) for fact in getattr(part, "__metadata__", ()))
    return next((fact for fact in (*field.metadata, *inner) if isinstance(fact, Unit)), None)


def effect_of(field: FieldInfo | None) -> Effect | None:
    """The reload class of a field; None for a section whose keys have their own."""
    return next((fact for fact in field.metadata if isinstance(fact, Effect)), None) if field else None


def choices_of(field: FieldInfo | None) -> tuple[object, ...]:
    """The values of a field with a fixed set of them, or of the items of its list."""
    annotation = field.annotation if field else None
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def is_turned_off_by_null(field: FieldInfo) -> bool:
    """Whether null is a value of a field, and not its default."""
    takes_null = any(getattr(fact, "func", None) is none_or_several for fact in field.metadata)
    is_optional = takes_null or type(None) in get_args(field.annotation)
    return is_optional and field.default is not None and not field.is_required()


def shown(value: object) -> str:
    """A value for a sentence, cut to 60 characters."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _choice(field: FieldInfo | None, value: object) -> str:
    choices = [str(choice) for choice in choices_of(field)]
    close = get_close_matches(str(value).lower(), choices, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"must be {' or '.join(choices)}, not {shown(value)}{hint}"


def _misfit(error: ErrorDetails) -> str:
    kind, value, facts = error["type"], error["input"], error.get("ctx", {})
    field = field_at(error["loc"])
    if kind == "literal_error":
        return _choice(field, value)
    if kind in _BOUNDS:
        fact, words = _BOUNDS[kind]
        unit = unit_of(field)
        return f"must be {words} {unit.format(facts[fact]) if unit else facts[fact]}, not {shown(value)}"
    if kind in ("list_type", "model_type"):
        return _misshapen(error)
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        return f"must have at {'least' if least else 'most'} {facts['min_length' if least else 'max_length']} entries"
    if kind == "string_pattern_mismatch":
        meaning = " ".join(_meaning_at(error["loc"]).replace("`", "").split())
        advice = "use up to 63 letters, digits, dots, dashes and underscores" if facts["pattern"] == NAME else meaning
        return f"{shown(value)} is not possible here: {advice}"
    return f"{_TYPES.get(kind, error['msg'])}, not {shown(value)}"


def _misshapen(error: ErrorDetails) -> str:
    """The sentence for a value that is no list or no section."""
    value = error["input"]
    if error["type"] == "list_type":
        advice = f"write [{value}]" if isinstance(value, str) else "begin each entry with a dash"
        return f"must be a list, not {shown(value)}; {advice}"
    section = section_at(error["loc"])
    keys = f" ({', '.join(section.model_fields)})" if section else ""
    found = _NO_SPACE.fullmatch(value) if isinstance(value, str) else None
    hint = f"; put a space behind the colon: {found[1]}: {found[2]}" if found else ""
    return f"must be a section with keys of its own{keys}, not {shown(value)}{hint}"


def section_in(annotation: object) -> type[Section] | None:
    """The section that a type holds: itself, in a list, or optional."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (list, UnionType, Union):
        return next((found for found in map(section_in, get_args(annotation)) if found), None)
    return None
