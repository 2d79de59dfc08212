"""How canisters in Python forget what an execution did: an undo log."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Journal:
    """Changes things and remembers how they were, until ``commit`` or ``roll_back``.

    A canister changes all of its state through a journal.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def commit(self) -> None:
        """What was done is done."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Everything as at the last ``commit``."""
        while self._undo:
            self._undo.pop()()

    def set(self, owner: object, attribute: str, value: object) -> None:
        """Set an attribute that exists."""
        before = getattr(owner, attribute)
        self._undo.append(lambda: setattr(owner, attribute, before))
        setattr(owner, attribute, value)

    def put(self, mapping: dict[K, V], key: K, value: V) -> None:
        """Set an item."""
        if key in mapping:
            before = mapping[key]
            self._undo.append(lambda: mapping.__setitem__(key, before))
        else:
            self._undo.append(lambda: mapping.pop(key))
        mapping[key] = value

    def remove(self, mapping: dict[K, V], key: K) -> V:
        """Remove an item and return it. Raises KeyError."""
        value = mapping.pop(key)
        self._undo.append(lambda: mapping.__setitem__(key, value))
        return value
