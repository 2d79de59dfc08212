"""Paths of keys in which an item of a list has a label, not a position: a reload may move items.

The label of a canister is its id, that of a further listener its address, that of a plugin its name.
"""

from typing import Any, NamedTuple

from appliance.config.schema import Canister, MoreListener, Plugin, Section
from appliance.config.text.document import Path


class Item(NamedTuple):
    """An item of a list, by its label."""

    label: str


KeyPath = tuple[str | Item, ...]
"""Keys from the top, e.g. ``("canisters", Item("bkyz2-…"), "paused")``."""


def path_text(path: KeyPath) -> str:
    """A path as text: ``canisters[bkyz2-…].paused``."""
    return "".join(f"[{part.label}]" if isinstance(part, Item) else f".{part}" for part in path).removeprefix(".")


def label_of(section: Section) -> str:
    """The label of a canister, a listener or a plugin."""
    match section:
        case Canister():
            return str(section.id)
        case MoreListener():
            return section.address
        case Plugin():
            return section.label
    raise TypeError(f"{type(section).__name__} is not repeated")


def labelled(section: Section, path: Path) -> KeyPath:
    """A path with labels instead of list positions, up to the first value that is not a section."""
    value: Any = section
    labels: list[str | Item] = []
    for part in path:
        if isinstance(value, Section) and isinstance(part, str) and part in type(value).model_fields:
            value = getattr(value, part)
            labels.append(part)
        elif isinstance(part, int) and is_repeated(value) and part < len(value):
            value = value[part]
            labels.append(Item(label_of(value)))
        else:
            break
    return tuple(labels)


def is_repeated(value: object) -> bool:
    """Whether a value is a list of sections. An empty list is not."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Section)
