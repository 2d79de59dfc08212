"""Prints a configuration as YAML for people, with the origin of each value."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.config.text.document import resolve_scalar

_PLAIN = re.compile(r"[A-Za-z0-9./_-][A-Za-z0-9 ./_@+-]*(?::[A-Za-z0-9./_-]+)*")
_MARGIN = 40
"""Column of comments; after longer lines they follow directly."""
_NOTHING = object()


def yaml_lines(
    values: Mapping[str, Any],
    origins: Mapping[str, str] | None = None,
    *,
    unless: Mapping[str, Any] | None = None,
    above: tuple[str, ...] = (),
) -> Iterator[str]:
    """Return the lines of a section.

    ``origins`` maps keys to the origins that follow their values as comments; values that are equal in ``unless`` are
    left out.
    """
    indent = "  " * len(above)
    for name, value in values.items():
        path = (*above, name)
        known = (unless or {}).get(name, _NOTHING)
        if value == known:
            continue
        if isinstance(value, Mapping):
            below = known if isinstance(known, Mapping) else None
            yield f"{indent}{name}:{'' if value else ' {}'}{_comment(origins, path)}"
            yield from yaml_lines(value, origins, unless=below, above=path)
        else:
            yield from _value_lines(indent, name, value, _comment(origins, path))


def scalar(value: Any) -> str:
    """Return a value on one line. Text is quoted if YAML would read it as something else."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return value if _is_plain(value) else _quoted(value)
        case Mapping():
            return "{" + ", ".join(f"{scalar(key)}: {scalar(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(scalar(inner) for inner in value) + "]"
    return str(value)


def _comment(origins: Mapping[str, str] | None, path: tuple[str, ...]) -> str:
    origin = (origins or {}).get(".".join(path))
    return f"  # {origin}" if origin else ""


def _value_lines(indent: str, name: str, value: Any, comment: str) -> Iterator[str]:
    sections = isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)
    line = f"{indent}{name}:{'' if sections else f' {scalar(value)}'}"
    yield f"{line:<{_MARGIN}}{comment}" if comment else line
    if sections:
        for item in value:
            lead = "- "
            for key, inner in item.items():
                if inner is not None:
                    yield f"{indent}  {lead}{key}: {scalar(inner)}"
                    lead = "  "


def _is_plain(text: str) -> bool:
    try:
        return bool(_PLAIN.fullmatch(text)) and text == text.strip() and resolve_scalar(text) == text
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Quote a text (YAML 1.2.2, section 5.7), with escapes for characters that cannot be printed."""
    return '"' + "".join(character if _is_printable(character) else _escaped(character) for character in text) + '"'


def _is_printable(character: str) -> bool:
    return character.isprintable() and character not in '"\\'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
