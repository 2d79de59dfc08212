"""Renders the schema for readers: ``gateway.yaml`` with every key, and the tables of the documentation."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from appliance.config.changed_keys import CHANGED
from appliance.config.fields.effect import Effect, Live
from appliance.config.problems import choices_of, effect_of, section_in, unit_of
from appliance.config.schema import Canister, Cluster, Config, MoreListener, Plugin, Section, Tls
from appliance.described import description_of

WIDTH = 100
EXAMPLES = {
    (Tls, "certificate"): "/etc/icws/tls.pem",
    (Tls, "key"): "/etc/icws/tls.key",
    (Cluster, "url"): "redis://redis.internal:6379",
    (MoreListener, "address"): "0.0.0.0:8081",
    (Canister, "id"): "bkyz2-fmaaa-aaaaa-qaaaq-cai",
    (Canister, "name"): "chat",
    (Canister, "max_clients"): "1000",
    (Plugin, "path"): "plugins/audit_log.py",
    (Plugin, "name"): "audit_log",
    (Plugin, "config"): "{file: data/audit.jsonl}",
}
"""Shown for keys without a default."""

_HEAD = """\
# Configuration of the gateway. Every key is shown with its default, so you may remove any line.
#
# - `icws check` finds mistakes in this file. Relative paths start at its folder.
# - The environment overrides the file: ICWS_GATEWAY__LISTEN sets gateway.listen. `icws run --set gateway.listen=…`
#   overrides both.
# - `icws reload` applies changes without closing sockets. Most take effect at once, those marked [new sessions] for
#   new sessions only, and those marked [restart] at the next start.
"""


@dataclass(frozen=True)
class Key:
    """A key of the configuration as text. ``section`` is the section below it, ``is_list`` if there may be several and
    ``is_optional`` if it may be absent (null). ``effect`` is its reload class; None for a section that is always
    present, whose keys have their own."""

    path: tuple[str, ...]
    default: str
    bounds: str
    meaning: str
    section: type[Section] | None
    is_list: bool
    is_optional: bool
    effect: Effect | None

    @property
    def is_plain(self) -> bool:
        """Whether this is a section that is always present."""
        return self.section is not None and not self.is_list and not self.is_optional


def keys(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[Key]:
    """The keys of one section, in order."""
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        is_list = isinstance(field.default, list) and inner is not None
        is_optional = field.default is None
        default = EXAMPLES.get((section, name)) or _default(field, inner)
        meaning = description_of(section, name) or inspect.getdoc(inner) or ""
        words = " ".join(meaning.split())
        yield Key((*above, name), default, _bounds(field), words, inner, is_list, is_optional, effect_of(field))


def render_yaml() -> str:
    """``gateway.yaml``: every key with its default and a comment."""
    return _HEAD + "\n".join(_yaml(Config)) + "\n"


def render_markdown() -> str:
    """The page of the documentation."""
    lines = ["# Configuration", "", *_INTRODUCTION, ""]
    lines += _table(Config, (), only_values=True)
    seen: set[type[Section]] = set()
    for key in keys():
        lines += _chapter(key, seen)
    lines += ["", *_changed()]
    return "\n".join(lines) + "\n"


_INTRODUCTION = [
    "The configuration file is `gateway.yaml`. The one in the repository shows every key with its default. This page",
    "is generated from the same schema (`make docs`).",
    "",
    "- Precedence: `--set section.key=value` on the command line, then the environment (`ICWS_SECTION__KEY`), then the",
    "  file, then the default.",
    "- An empty variable, or setting, counts as not given; `null` is null. What turns off TLS, the control plane or a",
    "  verification against the file is logged at the start. An empty value in the file is an error where null would",
    "  turn something off.",
    "- Durations need a unit: `ms`, `s`, `m` (or `min`), `h`, `d`, also several, as in `1m30s`. Sizes are in bytes, or",
    "  have a unit: `KiB`, `MiB`, `GiB` (or `K`, `M`, `G`), `kB`, `MB`, `GB`. Rates are per `s`, `m` or `h`.",
    "- Addresses, URLs, origins, host names and principals are compared by meaning: `https://App.Example:443/` is the",
    "  origin `https://app.example`.",
    "- Relative paths start at the folder of the file, or at the working directory if they come from the environment",
    "  or the command line.",
    "- The file is YAML 1.2: `no` and `on` are text. Anchors, aliases, tags, duplicate keys and unknown keys are",
    "  errors. `icws check` shows every error with line, column and key, and exits with 78.",
    "- The column *change* says when a reload applies a key: `live` at once, `new sessions` to sessions that begin",
    "  after the reload, `restart` at the next start.",
]


def _changed() -> list[str]:
    """What is different from earlier releases."""
    rows = [f"| `{change.old}` | `{change.new}` | {change.remark} | {change.until} |" for change in CHANGED]
    return [*_CHANGES, "", "| old | new | remark | refused from |", "| --- | --- | --- | --- |", *rows]


_CHANGES = [
    "## Changes",
    "",
    "A key that has gone, or whose value has another type, is taken for one more release, from the file, variables and",
    "`--set`. `icws check`, `icws reload` and the log of the start then say what to write instead.",
    "",
    "- `watch` is `false` by default: changes of the file wait for `icws reload`. For one release the log of a start",
    "  says so where the file does not have the key.",
    "- An empty variable, such as `ICWS_GATEWAY__TLS=`, was null; now it counts as not given.",
    "- `icws check` opens files, binds addresses and loads plugins, as `icws run` does; `--no-files` checks the text",
    "  alone.",
]


def _chapter(key: Key, seen: set[type[Section]]) -> list[str]:
    """The table of a section, once for all sections with the same keys."""
    section = key.section
    if section is None or section in seen:
        return []
    seen.add(section)
    title = ".".join(key.path) + ("[]" if key.is_list else "")
    lines = ["", f"## {title}", "", key.meaning.replace("``", "`"), "", *_table(section, (), only_values=False)]
    for inner in keys(section, key.path):
        lines += _chapter(inner, seen)
    return lines


def _table(section: type[Section], above: tuple[str, ...], *, only_values: bool) -> list[str]:
    rows = ["| key | default | allowed | change | meaning |", "| --- | --- | --- | --- | --- |"]
    for key in keys(section, above):
        if key.section is not None and only_values:
            continue
        field = section.model_fields[key.path[-1]]
        empty = key.is_plain or field.default is None
        default = "required" if field.is_required() else "" if empty else f"`{_default(field, None)}`"
        effect = key.effect.name if key.effect else ""
        rows.append(f"| `{key.path[-1]}` | {default} | {key.bounds} | {effect} | {key.meaning.replace('``', '`')} |")
    return rows


def _yaml(section: type[Section], above: tuple[str, ...] = ()) -> Iterator[str]:
    indent = "  " * len(above)
    for key in keys(section, above):
        name = key.path[-1]
        if not above:
            yield ""
        bounds = f" Allowed: {key.bounds}." if key.bounds else ""
        comment = (key.meaning + bounds).replace("`", "")
        if key.effect and not isinstance(key.effect, Live):
            comment += f" [{key.effect.name}]"
        for line in wrap(comment, WIDTH - len(indent)):
            yield f"{indent}# {line}"
        if key.is_plain and key.section:
            yield f"{indent}{name}:"
            yield from _yaml(key.section, key.path)
        elif key.section is None:
            yield f"{indent}{name}: {key.default}"
        else:
            yield f"{indent}{name}: {'[]' if key.is_list else 'null'}"
            yield from _example(key, indent)


def _example(key: Key, indent: str) -> Iterator[str]:
    """A section that is absent by default, as a comment."""
    yield f"{indent}# {key.path[-1]}:"
    for position, inner in enumerate(keys(key.section) if key.section else ()):
        lead = "  - " if key.is_list and position == 0 else "    " if key.is_list else "  "
        value = _flow(inner) if inner.section is not None else inner.default
        note = inner.meaning.replace("``", "")
        yield f"{indent}# {f'{lead}{inner.path[-1]}: {value}':40}  # {note}"


def _flow(key: Key) -> str:
    inner = [(part.path[-1], _flow(part) if part.section else part.default) for part in keys(key.section or Config)]
    return "{" + ", ".join(f"{name}: {value}" for name, value in inner) + "}"


def _default(field: FieldInfo, inner: type[Section] | None) -> str:
    value: Any = field.default
    unit = unit_of(field)
    if value is PydanticUndefined or value is None or inner is not None:
        return "null"
    if unit:
        return unit.format(value)
    if isinstance(value, list):
        return "[" + ", ".join(f'"{part}"' if part == "*" else str(part) for part in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if not isinstance(value, Path) else value.as_posix()


def _bounds(field: FieldInfo) -> str:
    if choices := choices_of(field):
        return ", ".join(f"`{choice}`" for choice in choices)
    unit = unit_of(field)

    def text(value: Any) -> str:
        return f"`{unit.format(value) if unit else value}`"

    low = next((fact.ge for fact in field.metadata if isinstance(fact, Ge)), None)
    high = next((fact.le for fact in field.metadata if isinstance(fact, Le)), None)
    return f"{text(low)} to {text(high)}" if low is not None and high is not None else ""
