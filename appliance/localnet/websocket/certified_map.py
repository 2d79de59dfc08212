"""A map whose entries can be certified one by one, in the shape that canisters in the field give it.

They use the ``RbTree`` of the crate ``ic-certification``: a left-leaning red-black tree with an entry
at every node, whose hash tree has the node's left side, its entry and its right side, each where there is one. The
shape is part of what clients see, since it says how many hashes come along with an entry.
"""

import hashlib
from collections.abc import Iterator
from typing import Self, TypeAlias

Witness: TypeAlias = "list[int | bytes | Witness]"
"""A hash tree as it is written in CBOR (interface specification, "Certificate"): the number of its kind, its parts."""

_EMPTY, _FORK, _LABELED, _LEAF, _PRUNED = range(5)


def _domain(name: str) -> bytes:
    separator = f"ic-hashtree-{name}".encode()
    return bytes([len(separator)]) + separator


_OF_EMPTY, _OF_FORK, _OF_LABELED, _OF_LEAF = map(_domain, ("empty", "fork", "labeled", "leaf"))


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def labeled_digest(label: bytes, digest: bytes) -> bytes:
    """The digest of a tree under a label."""
    return _hash(_OF_LABELED, label, digest)


class _Node:
    """Never changed. ``entry`` is the digest of key and value, ``digest`` that of the whole subtree."""

    __slots__ = ("digest", "entry", "is_red", "key", "left", "right", "value")

    def __init__(
        self, key: bytes, value: bytes, left: "_Node | None", right: "_Node | None", *, is_red: bool, entry: bytes
    ) -> None:
        self.key, self.value, self.entry = key, value, entry
        self.left, self.right, self.is_red = left, right, is_red
        rest = entry if right is None else _hash(_OF_FORK, entry, right.digest)
        self.digest: bytes = rest if left is None else _hash(_OF_FORK, left.digest, rest)

    def between(self, left: "_Node | None", right: "_Node | None") -> "_Node":
        """The same entry between other neighbours."""
        return _Node(self.key, self.value, left, right, is_red=self.is_red, entry=self.entry)

    def coloured(self, *, is_red: bool) -> "_Node":
        if is_red == self.is_red:
            return self
        return _Node(self.key, self.value, self.left, self.right, is_red=is_red, entry=self.entry)


_Tree = _Node | None


class CertifiedMap:
    """Immutable: changes return another map, which shares the unchanged nodes. Rolling back is keeping the old one."""

    def __init__(self, root: _Tree = None) -> None:
        self._root = root

    @property
    def digest(self) -> bytes:
        """Of the hash tree with all entries."""
        return _hash(_OF_EMPTY) if self._root is None else self._root.digest

    def __iter__(self) -> Iterator[bytes]:
        """The keys in order."""
        waiting: list[_Node] = []
        node = self._root
        while waiting or node is not None:
            while node is not None:
                waiting.append(node)
                node = node.left
            here = waiting.pop()
            yield here.key
            node = here.right

    def __contains__(self, key: bytes) -> bool:
        node = self._root
        while node is not None and node.key != key:
            node = node.left if key < node.key else node.right
        return node is not None

    def having(self, key: bytes, value: bytes) -> Self:
        """With this entry, instead of one with the same key."""
        entry = labeled_digest(key, _hash(_OF_LEAF, value))
        leaf = _Node(key, value, None, None, is_red=True, entry=entry)
        return type(self)(_insert(self._root, leaf).coloured(is_red=False))

    def without(self, key: bytes) -> Self:
        """Without the entry of this key, if there is one."""
        root = self._root
        if root is None or key not in self:
            return self
        if not _is_red(root.left) and not _is_red(root.right):
            root = root.coloured(is_red=True)
        rest = _delete(root, key)
        return type(self)(None if rest is None else rest.coloured(is_red=False))

    def witness(self, first: bytes, last: bytes) -> Witness:
        """A witness of the entries from the first key to the last, both of which must exist, and of no others."""
        return _witness(self._root, first, last)


# --- changes ---


def _is_red(node: _Tree) -> bool:
    return node is not None and node.is_red


def _insert(node: _Tree, new: _Node) -> _Node:
    if node is None:
        return new
    if new.key == node.key:
        return _Node(new.key, new.value, node.left, node.right, is_red=node.is_red, entry=new.entry)
    if new.key < node.key:
        return _balanced(node.between(_insert(node.left, new), node.right))
    return _balanced(node.between(node.left, _insert(node.right, new)))


def _delete(node: _Node, key: bytes) -> _Tree:
    """The tree without a key that is in it; the node, or one of its children, is red."""
    if key < node.key:
        node = _with_red_left(node)
        return _balanced(node.between(_delete(_some(node.left), key), node.right))
    if _is_red(node.left):
        node = _rotated_right(node)
    if node.right is None:
        return None
    node = _with_red_right(node)
    right = _some(node.right)
    if key != node.key:
        return _balanced(node.between(node.left, _delete(right, key)))
    least = right
    while least.left is not None:
        least = least.left
    rest = _delete_least(right)
    return _balanced(_Node(least.key, least.value, node.left, rest, is_red=node.is_red, entry=least.entry))


def _delete_least(node: _Node) -> _Tree:
    if node.left is None:
        return None
    node = _with_red_left(node)
    return _balanced(node.between(_delete_least(_some(node.left)), node.right))


def _with_red_left(node: _Node) -> _Node:
    """So that something can be taken from the left without a black node missing there."""
    left = _some(node.left)
    if left.is_red or _is_red(left.left):
        return node
    node = _flipped(node)
    right = _some(node.right)
    if not _is_red(right.left):
        return node
    return _flipped(_rotated_left(node.between(node.left, _rotated_right(right))))


def _with_red_right(node: _Node) -> _Node:
    right = _some(node.right)
    if right.is_red or _is_red(right.left):
        return node
    node = _flipped(node)
    if not _is_red(_some(node.left).left):
        return node
    return _flipped(_rotated_right(node))


def _balanced(node: _Node) -> _Node:
    if _is_red(node.right) and not _is_red(node.left):
        node = _rotated_left(node)
    if node.left is not None and node.left.is_red and _is_red(node.left.left):
        node = _rotated_right(node)
    if _is_red(node.left) and _is_red(node.right):
        node = _flipped(node)
    return node


def _rotated_left(node: _Node) -> _Node:
    up = _some(node.right)
    down = node.between(node.left, up.left).coloured(is_red=True)
    return up.between(down, up.right).coloured(is_red=node.is_red)


def _rotated_right(node: _Node) -> _Node:
    up = _some(node.left)
    down = node.between(up.right, node.right).coloured(is_red=True)
    return up.between(up.left, down).coloured(is_red=node.is_red)


def _flipped(node: _Node) -> _Node:
    left, right = _some(node.left), _some(node.right)
    flipped = node.between(left.coloured(is_red=not left.is_red), right.coloured(is_red=not right.is_red))
    return flipped.coloured(is_red=not node.is_red)


def _some(node: _Tree) -> _Node:
    """A node that must be there in a balanced tree."""
    assert node is not None  # noqa: S101
    return node


# --- witnesses ---


def _pruned(node: _Tree) -> Witness:
    return [_EMPTY] if node is None else [_PRUNED, node.digest]


def _witness(node: _Tree, first: bytes, last: bytes) -> Witness:
    if node is None:
        return [_EMPTY]
    left = _witness(node.left, first, last) if first < node.key else _pruned(node.left)
    right = _witness(node.right, first, last) if node.key < last else _pruned(node.right)
    if first <= node.key <= last:
        return _joined(left, [_LABELED, node.key, [_LEAF, node.value]], right)
    return _joined(left, [_PRUNED, node.entry], right)


def _joined(left: Witness, entry: Witness, right: Witness) -> Witness:
    """As the crate does it: neighbours that are both pruned become one, but only where the node has two sides."""
    if right[0] == _EMPTY:
        return entry if left[0] == _EMPTY else [_FORK, left, entry]
    if left[0] == _EMPTY:
        return [_FORK, entry, right]
    rest = _merged(entry, right)
    return _merged(left, rest) if rest[0] == _PRUNED else [_FORK, left, rest]


def _merged(left: Witness, right: Witness) -> Witness:
    match left, right:
        case [4, bytes(a)], [4, bytes(b)]:
            return [_PRUNED, _hash(_OF_FORK, a, b)]
        case _:
            return [_FORK, left, right]
