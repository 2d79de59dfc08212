"""What keys are called where something is repeated: by what it is, never by its place in a list.

A canister is told apart by its id, a further listener by its address, a plugin by its name.
"""

from typing import Any, NamedTuple

from appliance.config.schema import Canister, MoreListener, Plugin, Section
from appliance.config.text.document import Path


class Item(NamedTuple):
    """Something that is repeated, by its label."""

    label: str


KeyPath = tuple[str | Item, ...]
"""Keys from the top, e.g. ``("canisters", Item("bkyz2-…"), "paused")``."""


def path_text(path: KeyPath) -> str:
    """A path as people write it: ``canisters[bkyz2-…].paused``."""
    return "".join(f"[{part.label}]" if isinstance(part, Item) else f".{part}" for part in path).removeprefix(".")


def label_of(section: Section) -> str:
    """What tells a canister, a listener or a plugin from the others."""
    match section:
        case Canister():
            return str(section.id)
        case MoreListener():
            return section.address
        case Plugin():
            return section.label
    raise TypeError(f"{type(section).__name__} is not repeated")


def labelled(section: Section, path: Path) -> KeyPath:
    """A path with the positions in lists replaced by labels; what is in a value that is no section is left out."""
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
    """Whether a value is a list of sections, which is never so for an empty one."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Section)
