"""The difference between two configurations, key by key, each change with its reload class.

Items of lists are compared by their label, never by position: canisters by id, further listeners by address, plugins by
name. Another order is a change for plugins only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.config.fields.effect import EffectName, Live, Restart
from appliance.config.files import files_of
from appliance.config.keys import Item, KeyPath, label_of, path_text
from appliance.config.load import Loaded
from appliance.config.problems import effect_of, field_at, section_in
from appliance.config.schema import Config, Section
from appliance.config.text.written import read_back, written, written_value

_ORDERED = ("plugins",)
"""Lists whose order matters."""


@dataclass(frozen=True)
class PlannedChange:
    """One key that changes. ``old`` and ``new`` are as written, None for absent; ``sessions`` is the number of open
    sessions that it concerns. With ``in_file`` the key is the same and the content of its file has changed.
    """

    path: KeyPath
    old: Any
    new: Any
    effect: EffectName
    sessions: int = 0
    in_file: bool = False
    canister_name: str | None = None

    @property
    def key(self) -> str:
        """As text: ``canisters[bkyz2-…].polling.min_interval``."""
        return path_text(self.path)

    @property
    def canister(self) -> str | None:
        """The id of the canister that it concerns, None where it concerns more."""
        item = self.path[1] if self.path[0] == "canisters" and len(self.path) > 1 else None
        return item.label if isinstance(item, Item) else None

    @property
    def removes_canister(self) -> bool:
        """Whether it removes a canister."""
        return self.canister is not None and len(self.path) == 2 and self.new is None


@dataclass(frozen=True)
class Plan:
    """The changes from one configuration to another; empty where nothing changes."""

    changes: tuple[PlannedChange, ...] = ()

    def __iter__(self) -> Iterator[PlannedChange]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def restarts(self) -> tuple[PlannedChange, ...]:
        """The changes that wait for the next start."""
        return tuple(change for change in self.changes if change.effect == Restart.name)

    @property
    def sessions(self) -> int:
        """The largest number of sessions that one change concerns."""
        return max((change.sessions for change in self.changes), default=0)

    def counted(self, sessions: Mapping[str, int]) -> "Plan":
        """With the number of sessions that each key's change concerns."""
        return Plan(tuple(replace(change, sessions=sessions.get(change.key, 0)) for change in self.changes))


def compare(old: Loaded, new: Loaded) -> Plan:
    """The changes from one configuration to another, in the order of the schema, then those of file contents."""
    names = {**old.config.canister_names, **new.config.canister_names}
    changes = (*diff(old.config, new.config), *_contents(old, new))
    return Plan(tuple(replace(change, canister_name=names.get(change.canister or "")) for change in changes))


def diff(old: Section, new: Section, above: KeyPath = ()) -> Iterator[PlannedChange]:
    """The changes from one section to another of its kind; none if they are equal."""
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        path, effect = (*above, name), effect_of(field)
        if isinstance(before, Section) and isinstance(after, Section):
            yield from diff(before, after, path)
        elif effect is not None and isinstance(before, list) and section_in(field.annotation):
            yield from _diff_items(before, after, path, effect.name)
        elif effect is not None:
            yield PlannedChange(path, written_value(before, field), written_value(after, field), effect.name)


def patched(config: Config, changes: Iterable[PlannedChange]) -> Config:
    """The configuration with these changes; added items stand last. Raises ConfigError for an invalid result."""
    values = _keyed(config)
    for change in changes:
        if not change.in_file:
            _set(values, change)
    return read_back(_unkeyed(values, Config))


def without(config: Config, changes: Iterable[PlannedChange]) -> Config:
    """The configuration without these changes. Raises ConfigError for an invalid result."""
    return patched(config, (replace(change, old=change.new, new=change.old) for change in changes))


def _diff_items(old: list[Section], new: list[Section], path: KeyPath, effect: EffectName) -> Iterator[PlannedChange]:
    before, after = ({label_of(item): item for item in items} for items in (old, new))
    added = [label for label in after if label not in before]
    removed = [label for label in before if label not in after]
    stay = [label for label in before if label in after]
    # `patched` puts added items last. A plugin in another position is therefore a change of the whole list, both ways.
    if path == _ORDERED and not (stay + added == list(after) and stay + removed == list(before)):
        yield PlannedChange(path, written_value(old), written_value(new), effect)
        return
    for label, item in before.items():
        if label in after:
            yield from diff(item, after[label], (*path, Item(label)))
        else:
            yield PlannedChange((*path, Item(label)), written(item), None, effect)
    for label in added:
        yield PlannedChange((*path, Item(label)), None, written(after[label]), effect)


def _contents(old: Loaded, new: Loaded) -> Iterator[PlannedChange]:
    """Files with the same name and another content; an unreadable file counts as absent."""
    before = dict(files_of(old.config))
    for path, file in files_of(new.config):
        was, is_now = (loaded.contents.get(path_text(path)) for loaded in (old, new))
        if before.get(path) == file and was != is_now:
            effect = effect_of(field_at(tuple(part for part in path if isinstance(part, str)))) or Live()
            yield PlannedChange(path, was and str(was), is_now and str(is_now), effect.name, in_file=True)


def _keyed(section: Section) -> dict[str, Any]:
    """As `written`, with lists of sections as dictionaries by label."""
    values = written(section)
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            values[name] = _keyed(value)
        elif isinstance(value, list) and section_in(field.annotation):
            values[name] = {label_of(item): _keyed(item) for item in value}
    return values


def _unkeyed(values: Mapping[str, Any], section: type[Section]) -> dict[str, Any]:
    """The inverse of `_keyed`."""
    result: dict[str, Any] = dict(values)
    for name, field in section.model_fields.items():
        inner, value = section_in(field.annotation), values[name]
        if inner and isinstance(value, dict):
            is_list = isinstance(field.default, list)
            result[name] = [_unkeyed(item, inner) for item in value.values()] if is_list else _unkeyed(value, inner)
    return result


def _set(values: dict[str, Any], change: PlannedChange) -> None:
    *above, last = (part.label if isinstance(part, Item) else part for part in change.path)
    for part in above:
        values = values[part]
    if change.new is None and isinstance(change.path[-1], Item):
        del values[last]
    else:
        values[last] = change.new
