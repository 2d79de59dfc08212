"""Edits of the text of ``gateway.yaml`` that change no other byte of it: comments, order, quotes and layout stay.

The text must be one that ``load`` accepts. The result is parsed again, and ConfigError is raised where it is not the
old value with the edit, which a rare layout may cause.

A library that keeps comments (ruamel.yaml's round trip) does not do this: it writes the whole document anew, with its
own indentation and line breaks, so that a review would show lines that nobody changed; and it reads by rules of its
own, where ``document`` is stricter. Cutting the text at the marks of the parser is enough, as `_checked` proves each
time.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import yaml

from appliance.config.text.document import Path, key_text, read_value, resolve_scalar
from appliance.errors import ConfigError, ConfigProblem

Value: TypeAlias = "str | int | float | bool | None | Sequence[Value] | Mapping[str, Value]"
"""A value that an edit can write."""

_LOADER: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def set_value(text: str, path: Path, value: Value) -> str:
    """The text with this value at this path. Missing sections above it are created."""

    def wanted(found: Any) -> None:
        for part in path[:-1]:
            found = found.setdefault(part, {}) if isinstance(part, str) else found[part]
        found[path[-1]] = value

    return _checked(text, _with_value(text, path, value), path, wanted)


def append_item(text: str, path: Path, item: Mapping[str, Value]) -> str:
    """The text with another section at the end of the list at this path."""

    def wanted(found: Any) -> None:
        for part in path[:-1]:
            found = found[part]
        found.setdefault(path[-1], []).append(item)

    return _checked(text, _with_item(text, path, item), path, wanted)


def remove_item(text: str, path: Path) -> str:
    """The text without the item of a list that this path ends with."""

    def wanted(found: Any) -> None:
        for part in path[:-1]:
            found = found[part]
        del found[path[-1]]

    return _checked(text, _without_item(text, path), path, wanted)


def _checked(before: str, after: str, path: Path, wanted: Callable[[Any], None]) -> str:
    try:
        old, new = read_value(before, "before"), read_value(after, "after")
        wanted(old.value)
    except (ConfigError, LookupError, TypeError, AttributeError):
        raise _cannot(path) from None
    if new.problems or new.value != old.value:
        raise _cannot(path)
    return after


def _with_value(text: str, path: Path, value: Value) -> str:
    for depth in range(1, len(path) + 1):
        if _child(_find(text, path[: depth - 1]), path[depth - 1]) is None:
            return _insert_key(text, _find(text, path[: depth - 1]), path[depth - 1 :], value)
    return _replace(text, path, _flow(value))


def _with_item(text: str, path: Path, item: Mapping[str, Value]) -> str:
    *above, key = path
    parent = _find(text, tuple(above))
    found = _child(parent, key)
    if found is None:
        if isinstance(parent, yaml.MappingNode) and not parent.flow_style:
            indent = " " * parent.start_mark.column
            return _insert_line(text, _end(parent), f"{indent}{key}:\n{_block(item, indent + '  ')}")
        return _insert_key(text, parent, (key,), [item])
    if not isinstance(found, yaml.SequenceNode) or not found.value:
        return _replace(text, path, _flow([item]))
    last = found.value[-1]
    if found.flow_style:
        return _insert(text, _end(last), f", {_flow(item)}")
    dash = _dash(text, last)
    return _insert_line(text, _end(last), _block(item, " " * (dash - _line_start(text, dash))))


def _without_item(text: str, path: Path) -> str:
    *above, position = path
    sequence, item = _find(text, tuple(above)), _find(text, path)
    if not isinstance(sequence, yaml.SequenceNode) or not isinstance(position, int):
        raise _cannot(path)
    items = sequence.value
    if len(items) == 1:
        return _replace(text, tuple(above), "[]")
    if not sequence.flow_style:
        return text[: _line_start(text, _dash(text, item))] + text[_line_end(text, _end(item)) :]
    if position:
        return text[: _end(items[position - 1])] + text[_end(item) :]
    return text[: item.start_mark.index] + text[items[1].start_mark.index :]


# --- finding --------------------------------------------------------------------------------------------------------


def _find(text: str, path: Path) -> yaml.Node:
    node = yaml.compose(text, Loader=_LOADER)
    for part in path:
        node = None if node is None else _child(node, part)
    if node is None:
        raise _cannot(path)
    return node


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _end(node: yaml.Node) -> int:
    """The position behind the last character of a node. The parser counts the lines after a block as part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _dash(text: str, item: yaml.Node) -> int:
    """The dash before an item of a list in block style."""
    return text.rindex("-", 0, item.start_mark.index)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


# --- writing --------------------------------------------------------------------------------------------------------


def _insert(text: str, index: int, what: str) -> str:
    return text[:index] + what + text[index:]


def _insert_line(text: str, index: int, lines: str) -> str:
    """The position behind the line with this index."""
    end = _line_end(text, index)
    return text[:end] + ("" if text[:end].endswith("\n") else "\n") + lines + "\n" + text[end:]


def _insert_key(text: str, node: yaml.Node, path: Path, value: Value) -> str:
    key, *below = path
    for part in reversed(below):
        value = {str(part): value}
    if not isinstance(node, yaml.MappingNode):
        raise _cannot(path)
    if not node.flow_style:
        return _insert_line(text, _end(node), f"{' ' * node.start_mark.column}{key}: {_flow(value)}")
    if not node.value:
        return _insert(text, node.start_mark.index + 1, f"{key}: {_flow(value)}")
    return _insert(text, _end(node.value[-1][1]), f", {key}: {_flow(value)}")


def _replace(text: str, path: Path, new: str) -> str:
    """Put something in place of a value. A block goes with its lines, and what is new stands behind its key."""
    node = _find(text, path)
    begin, end = node.start_mark.index, _end(node)
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return text[:begin] + (new if begin < end else f" {new}") + text[end:]
    colon = text.index(":", _key_end(_find(text, path[:-1]), path))
    begin, end = _line_start(text, begin), _line_end(text, end)
    return f"{text[: colon + 1]} {new}{text[colon + 1 : begin]}{text[end:]}"


def _key_end(parent: yaml.Node, path: Path) -> int:
    for key, _ in parent.value if isinstance(parent, yaml.MappingNode) else ():
        if key.value == path[-1]:
            return int(key.end_mark.index)
    raise _cannot(path)


def _block(item: Mapping[str, Value], indent: str) -> str:
    lines = [f"{key}: {_flow(value)}" for key, value in item.items()]
    return "\n".join(f"{indent}{'  ' if number else '- '}{line}" for number, line in enumerate(lines))


def _flow(value: Value) -> str:
    match value:
        case None | bool():
            return str(value).lower() if value is not None else "null"
        case str():
            return value if _PLAIN.fullmatch(value) and _means(value) else _quoted(value)
        case int() | float():
            return str(value)
        case Mapping():
            return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_flow, value)) + "]"


def _quoted(text: str) -> str:
    kept = (char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(kept)}"'


def _means(text: str) -> bool:
    """Whether text without quotes is read as this text."""
    try:
        return resolve_scalar(text) == text
    except ValueError:
        return False


def _cannot(path: Path) -> ConfigError:
    problem = "the file is laid out in a way that cannot be edited here; edit it by hand"
    return ConfigError([ConfigProblem("gateway.yaml", key_text(path), problem)])
