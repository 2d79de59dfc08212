"""Explains one key of the configuration."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from appliance.cli.output.terminal import field_lines, styled, wrapped
from appliance.cli.output.yaml_text import scalar
from appliance.config.overrides import PREFIX
from appliance.config.problems import suggestion
from appliance.config.render.describe import Key, keys
from appliance.config.schema import Config, Section


@dataclass(frozen=True)
class ExplainedKey:
    """A key of the configuration; ``name`` has no brackets. Keys in lists have neither a variable nor one value."""

    name: str
    key: Key
    in_list: bool

    @property
    def inner(self) -> list[Key]:
        """The keys of this section; empty for a key with a value."""
        return [] if self.key.section is None else list(keys(self.key.section, self.key.path))

    def as_json(self) -> dict[str, Any]:
        """The explanation as JSON."""
        effect = self.key.effect
        return {
            "key": self.name,
            "meaning": _without_backticks(self.key.meaning),
            "default": None if self.key.section else self.key.default,
            "allowed": _without_backticks(self.key.bounds) or None,
            "change": effect.name if effect else None,
            "keys": [".".join(inner.path) for inner in self.inner],
        }


def find_key(text: str) -> ExplainedKey:
    """Return the key with this name, ignoring brackets as in ``canisters[0].name``. Raises ClickException."""
    parts = tuple(_without_brackets(text).split("."))
    section: type[Section] | None = Config
    found: Key | None = None
    in_list = False
    for depth in range(1, len(parts) + 1):
        in_list = in_list or (found is not None and found.is_list)
        found = next((key for key in keys(section) if key.path[-1] == parts[depth - 1]), None) if section else None
        if found is None:
            raise click.ClickException(f"there is no key {'.'.join(parts[:depth])}{suggestion(parts[:depth])}")
        section = found.section
    if found is None:
        raise AssertionError("str.split returns at least one part")
    return ExplainedKey(".".join(parts), replace(found, path=parts), in_list)


def nearest_key(text: str) -> str:
    """Return the longest known beginning of this name; empty if its first part is unknown."""
    known, parts = set(known_keys()), _without_brackets(text).split(".")
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def known_keys(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of all keys and sections."""
    for key in keys(section, above):
        yield ".".join(key.path)
        if key.section is not None:
            yield from known_keys(key.section, key.path)


def key_lines(found: ExplainedKey, value: Any, origin: str, *, max_width: int | None) -> Iterator[str]:
    """Return the lines of an explanation."""
    yield styled(found.name, bold=True)
    yield from (
        f"  {line}"
        for line in wrapped(_without_backticks(found.key.meaning), None if max_width is None else max_width - 2)
    )
    pairs = list(_fields(found, value, origin))
    if pairs:
        yield ""
        yield from field_lines(pairs, max_width=max_width, indent="  ")
    if found.inner:
        yield ""
        inner = [(key.path[-1], _brief(key)) for key in found.inner]
        yield from field_lines(inner, max_width=max_width, indent="  ")


def _fields(found: ExplainedKey, value: Any, origin: str) -> Iterator[tuple[str, str]]:
    key = found.key
    if key.section is None:
        is_example = key.is_optional or key.default == "null"
        yield ("e.g." if is_example and key.default != "null" else "default"), key.default
    if key.bounds:
        yield "allowed", _without_backticks(key.bounds)
    if key.effect:
        yield "change", f"{key.effect.name}: {key.effect.meaning}"
    if not found.in_list:
        yield "variable", PREFIX + "__".join(part.upper() for part in key.path)
    if origin:
        yield "now", f"{scalar(value)}, from {origin}" if origin != "default" else f"{scalar(value)}, by default"


def _brief(key: Key) -> str:
    default = "" if key.section else f" ({key.default})"
    return f"{_without_backticks(key.meaning).removesuffix('.')}{default}"


def _without_backticks(text: str) -> str:
    return text.replace("`", "")


def _without_brackets(text: str) -> str:
    """Remove brackets and their content, which may contain dots."""
    kept, depth = [], 0
    for character in text:
        depth += character == "["
        if not depth:
            kept.append(character)
        depth -= character == "]"
    return "".join(kept)
