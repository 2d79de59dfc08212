"""What the engine of the workers keeps of each node's clients: values by node and field, without I/O."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TypeVar

T = TypeVar("T")


class ByNode(MutableMapping[tuple[str, bytes], T]):
    """A mapping by node and field. What is asked of one node takes no time for the clients of others."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[bytes, T]] = {}

    def of(self, node: str) -> Mapping[bytes, T]:
        """The values of one node, by field."""
        return self._nodes.get(node, {})

    def __getitem__(self, key: tuple[str, bytes]) -> T:
        """Raises KeyError."""
        try:
            return self._nodes[key[0]][key[1]]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: tuple[str, bytes], value: T) -> None:
        """Keep a value."""
        self._nodes.setdefault(key[0], {})[key[1]] = value

    def __delitem__(self, key: tuple[str, bytes]) -> None:
        """Raises KeyError."""
        fields = self._nodes.get(key[0], {})
        del fields[key[1]]
        if not fields:
            del self._nodes[key[0]]

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Each node with each of its fields."""
        return ((node, field) for node, fields in self._nodes.items() for field in fields)

    def __len__(self) -> int:
        """Values of all nodes."""
        return sum(map(len, self._nodes.values()))

    def clear(self) -> None:
        """Forget all."""
        self._nodes.clear()
