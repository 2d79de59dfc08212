"""One key of the configuration in words."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from appliance.cli.output.terminal import field_lines, wrapped
from appliance.cli.output.yaml_text import scalar
from appliance.config.describe import Key, keys
from appliance.config.load import PREFIX
from appliance.config.problems import suggestion
from appliance.config.schema import Config, Section


@dataclass(frozen=True)
class Found:
    """A key, by the name that people wrote without what stood in brackets."""

    name: str
    key: Key
    in_list: bool

    @property
    def inner(self) -> list[Key]:
        """The keys of the section that it is."""
        return [] if self.key.section is None else list(keys(self.key.section, self.key.path))

    def answer(self) -> dict[str, Any]:
        """For a program."""
        effect = self.key.effect
        return {
            "key": self.name,
            "meaning": _plain(self.key.meaning),
            "default": None if self.key.section else self.key.default,
            "allowed": _plain(self.key.bounds) or None,
            "change": effect.name if effect else None,
            "keys": [".".join(inner.path) for inner in self.inner],
        }


def find_key(text: str) -> Found:
    """The key of this name; what is in brackets is left out: ``canisters[0].name``. Raises ClickException."""
    parts = tuple(_outside_brackets(text).split("."))
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
        raise AssertionError("a text has one part at least")
    return Found(".".join(parts), replace(found, path=parts), in_list)


def nearest_key(text: str) -> str:
    """The key of this name, or else the section that it would be in; empty at the top."""
    known, parts = set(known_keys()), _outside_brackets(text).split(".")
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def known_keys(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[str]:
    """All names of keys."""
    for key in keys(section, above):
        yield ".".join(key.path)
        if key.section is not None:
            yield from known_keys(key.section, key.path)


def key_lines(found: Found, value: Any, origin: str, *, max_width: int | None) -> Iterator[str]:
    """The explanation."""
    yield click.style(found.name, bold=True)
    yield from (
        f"  {line}" for line in wrapped(_plain(found.key.meaning), None if max_width is None else max_width - 2)
    )
    pairs = list(_pairs(found, value, origin))
    if pairs:
        yield ""
        yield from field_lines(pairs, max_width=max_width, indent="  ")
    if found.inner:
        yield ""
        inner = [(key.path[-1], _brief(key)) for key in found.inner]
        yield from field_lines(inner, max_width=max_width, indent="  ")


def _pairs(found: Found, value: Any, origin: str) -> Iterator[tuple[str, str]]:
    key = found.key
    if key.section is None:
        is_example = key.is_optional or key.default == "null"
        yield ("e.g." if is_example and key.default != "null" else "default"), key.default
    if key.bounds:
        yield "allowed", _plain(key.bounds)
    if key.effect:
        yield "change", f"{key.effect.name}: {key.effect.meaning}"
    if not found.in_list:
        yield "variable", PREFIX + "__".join(part.upper() for part in key.path)
    if origin:
        yield "now", f"{scalar(value)}, from {origin}" if origin != "default" else f"{scalar(value)}, by default"


def _brief(key: Key) -> str:
    default = "" if key.section else f" ({key.default})"
    return f"{_plain(key.meaning).removesuffix('.')}{default}"


def _plain(text: str) -> str:
    return text.replace("`", "")


def _outside_brackets(text: str) -> str:
    """Without what is in brackets, which may have points in it."""
    kept, depth = [], 0
    for character in text:
        depth += character == "["
        if not depth:
            kept.append(character)
        depth -= character == "]"
    return "".join(kept)
