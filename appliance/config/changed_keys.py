"""Keys that have gone, or whose values have another type: taken for one more release, with a warning.

A row of ``CHANGED`` is all that a change needs: what is written under the old key is read as if the new one were
written, from the file, the environment and the command line alike. Remove the row with the release that it names.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config.text.document import Path


@dataclass(frozen=True)
class ChangedKey:
    """A key ``old`` that is ``new`` now, both as in ``canisters[].name``; the lists on the way must be the same.

    ``convert`` makes the present value of a former one, and returns what it cannot convert: the schema refuses that.
    For a key that keeps its name, ``is_former`` recognises values of the former type; others pass unchanged. ``until``
    is the release that refuses the old form.
    """

    old: str
    new: str
    until: str
    convert: Callable[[Any], Any] = lambda value: value
    is_former: Callable[[Any], bool] = lambda _: True
    remark: str = ""
    """What else is different, as words such as ``a list``."""

    @property
    def advice(self) -> str:
        """What to write instead, as a sentence."""
        what = f"is now {self.new}; write that" if self.old != self.new else "has another type now; write"
        remark = f"{',' if self.old != self.new else ''} {self.remark}" if self.remark else ""
        return f"{what}{remark}. Release {self.until} refuses the old form"


CHANGED: tuple[ChangedKey, ...] = (ChangedKey("gateway.relay_queue", "relay.queue", until="0.2.0"),)
"""Every change that is still taken."""


@dataclass(frozen=True)
class Renamed:
    """A value that was found under an old key: its paths, with positions in lists."""

    old: Path
    new: Path
    change: ChangedKey


def rename(value: dict[str, Any], changes: Sequence[ChangedKey] = CHANGED) -> list[Renamed]:
    """Move what is written under old keys to the new ones, in place. Returns what was moved."""
    return [
        found for change in changes for found in _renamed(value, (), _parts(change.old), _parts(change.new), change)
    ]


def _parts(key: str) -> list[str]:
    """``canisters[].name`` as ``["canisters", "[]", "name"]``."""
    return key.replace("[]", ".[]").split(".")


def _renamed(value: Any, above: Path, old: list[str], new: list[str], change: ChangedKey) -> Iterator[Renamed]:
    """Walk down what both keys have in common, and move below."""
    if old[:1] == new[:1] and len(old) > 1 and len(new) > 1:
        inner: list[tuple[str | int, Any]] = []
        if old[0] == "[]" and isinstance(value, list):
            inner = list(enumerate(value))
        elif isinstance(value, dict) and old[0] in value:
            inner = [(old[0], value[old[0]])]
        for part, below in inner:
            yield from _renamed(below, (*above, part), old[1:], new[1:], change)
        return
    section = value
    for part in old[:-1]:
        section = section.get(part) if isinstance(section, dict) else None
    if isinstance(section, dict) and old[-1] in section and change.is_former(section[old[-1]]):
        former = section.pop(old[-1])
        _set(value, new, change.convert(former))
        yield Renamed((*above, *old), (*above, *new), change)


def _set(section: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value below a section. Where a value that is no section is in the way, that is the mistake to report."""
    for part in path[:-1]:
        if section.get(part) is None:
            section[part] = {}
        if not isinstance(section[part], dict):
            return
        section = section[part]
    section[path[-1]] = value
