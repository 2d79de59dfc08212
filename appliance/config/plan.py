"""The difference between two configurations, key by key, each change with what it reaches.

What is repeated is told apart by what it is, never by its place in the list: canisters by their id, further listeners
by their address, plugins by their name. Another order is a change for plugins only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.config.fields.effect import EffectName, Live, Restart
from appliance.config.files import files_of
from appliance.config.keys import Item, KeyPath, label_of, path_text
from appliance.config.load import Loaded
from appliance.config.problems import effect_of, section_in
from appliance.config.schema import Config, Section
from appliance.config.text.written import read_back, written, written_value

_ORDERED = ("plugins",)
"""What is repeated and whose order means something."""


@dataclass(frozen=True)
class PlannedChange:
    """One key that changes. ``old`` and ``new`` are as written, None where there is nothing; ``sessions`` is how many
    of those that are there it concerns. With ``in_file`` the key is the same and what is in its file has changed.
    """

    path: KeyPath
    old: Any
    new: Any
    effect: EffectName
    sessions: int = 0
    in_file: bool = False

    @property
    def key(self) -> str:
        """As people write it: ``canisters[bkyz2-…].polling.min_interval``."""
        return path_text(self.path)

    @property
    def canister(self) -> str | None:
        """The id of the canister that this is about, None if it is about more."""
        item = self.path[1] if self.path[0] == "canisters" and len(self.path) > 1 else None
        return item.label if isinstance(item, Item) else None

    @property
    def removes_canister(self) -> bool:
        """Whether a canister is not served any more."""
        return self.canister is not None and len(self.path) == 2 and self.new is None


@dataclass(frozen=True)
class Plan:
    """What becomes of one configuration by another; nothing if it is empty."""

    changes: tuple[PlannedChange, ...] = ()

    def __iter__(self) -> Iterator[PlannedChange]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def restarts(self) -> tuple[PlannedChange, ...]:
        """What waits for the next start."""
        return tuple(change for change in self.changes if change.effect == Restart.name)

    @property
    def sessions(self) -> int:
        """Sessions that the change that concerns most of them concerns."""
        return max((change.sessions for change in self.changes), default=0)

    def counted(self, sessions: Mapping[str, int]) -> "Plan":
        """With the number of sessions that each key's change concerns."""
        return Plan(tuple(replace(change, sessions=sessions.get(change.key, 0)) for change in self.changes))


def compare(old: Loaded, new: Loaded) -> Plan:
    """What changes from one configuration to the other, in the order of the schema, then what files say."""
    return Plan((*diff(old.config, new.config), *_contents(old, new)))


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
    """The configuration with these changes made; what is added stands last. Raises ConfigError if it is none then."""
    values = _keyed(config)
    for change in changes:
        if not change.in_file:
            _set(values, change)
    return read_back(_unkeyed(values, Config))


def without(config: Config, changes: Iterable[PlannedChange]) -> Config:
    """The configuration with these changes undone. Raises ConfigError if it is none then."""
    return patched(config, (replace(change, old=change.new, new=change.old) for change in changes))


def _diff_items(old: list[Section], new: list[Section], path: KeyPath, effect: EffectName) -> Iterator[PlannedChange]:
    before, after = ({label_of(item): item for item in items} for items in (old, new))
    added = [label for label in after if label not in before]
    removed = [label for label in before if label not in after]
    stay = [label for label in before if label in after]
    # what is added stands last, forth and back, unless the order says otherwise
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
    """Files that are the same by name and not by content, one that cannot be read counting as none."""
    before = dict(files_of(old.config))
    for path, file in files_of(new.config):
        was, is_now = (loaded.contents.get(path_text(path)) for loaded in (old, new))
        if before.get(path) == file and was != is_now:
            yield PlannedChange(path, was and str(was), is_now and str(is_now), Live.name, in_file=True)


def _keyed(section: Section) -> dict[str, Any]:
    """As `written`, but what is repeated is a dictionary by label."""
    values = written(section)
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            values[name] = _keyed(value)
        elif isinstance(value, list) and section_in(field.annotation):
            values[name] = {label_of(item): _keyed(item) for item in value}
    return values


def _unkeyed(values: Mapping[str, Any], section: type[Section]) -> dict[str, Any]:
    """What a section was before `_keyed`."""
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
