import hashlib
from types import ModuleType
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import HashTree
from appliance.errors import Malformed, PathUnknown

LABEL = st.binary(max_size=3)
LABELS = st.recursive(
    st.binary(max_size=4), lambda inner: st.dictionaries(LABEL, inner, max_size=6), max_leaves=20
).filter(lambda value: isinstance(value, dict))
PATHS = st.lists(st.lists(LABEL, max_size=4), max_size=5)
Labels = dict[bytes, Any]


def at(labels: Labels, path: list[bytes]) -> Any:
    """What a dict of dicts has at a path, None for nothing."""
    here: Any = labels
    for label in path:
        here = here.get(label) if isinstance(here, dict) else None
    return here


def paths_of(labels: Labels) -> list[list[bytes]]:
    paths: list[list[bytes]] = []
    for label, below in labels.items():
        inner = paths_of(below) if isinstance(below, dict) else []
        paths += [[label], *([label, *path] for path in inner)]
    return paths


def verdict(tree: HashTree, path: list[bytes]) -> tuple[str, bytes | None]:
    try:
        value = tree.lookup(path)
    except PathUnknown:
        return "unknown", None
    except Malformed:
        return "error", None
    return ("absent" if value is None else "found"), value


def digest(node: Any) -> bytes:
    """The digest by the words of the interface specification."""
    match node:
        case [0]:
            parts = [b"\x11ic-hashtree-empty"]
        case [1, left, right]:
            parts = [b"\x10ic-hashtree-fork", digest(left), digest(right)]
        case [2, label, below]:
            parts = [b"\x13ic-hashtree-labeled", label, digest(below)]
        case [3, value]:
            parts = [b"\x10ic-hashtree-leaf", value]
        case [4, pruned]:
            return bytes(pruned)
    return hashlib.sha256(b"".join(parts)).digest()


def test_every_verdict_of_the_vectors(vectors: ModuleType) -> None:
    cases = vectors.load_json("hash_trees.json")["cases"]
    assert len(cases) == 20
    for case in cases:
        data = bytes.fromhex(case["tree"])
        if not case["is_well_formed"]:
            with pytest.raises(Malformed, match="leaf"):
                HashTree.from_cbor(data)
            continue
        tree = HashTree.from_cbor(data)
        assert tree.digest.hex() == case["digest"]
        assert tree.to_cbor(tagged=False) == data
        for lookup in case["lookups"]:
            path = [bytes.fromhex(label) for label in lookup["path"]]
            value = bytes.fromhex(lookup["value"]) if "value" in lookup else None
            assert verdict(tree, path) == (lookup["result"], value), (case["digest"], lookup)


@given(LABELS)
def test_a_tree_of_labels_tells_all_of_them(labels: Labels) -> None:
    tree = HashTree.from_labels(labels)
    assert tree.digest == digest(cbor2.loads(tree.to_cbor(tagged=False)))
    for path in paths_of(labels):
        there = at(labels, path)
        if isinstance(there, dict):
            assert tree.children(path) == sorted(there)
        else:
            assert tree.lookup(path) == there
            assert tree.children(path) == []
            assert tree.lookup([*path, b"below"]) is None
    assert tree.lookup([b"none of these"]) is None
    assert tree.children([b"none of these"]) == []


@given(LABELS)
def test_cbor_goes_out_and_in(labels: Labels) -> None:
    tree = HashTree.from_labels(labels)
    data = tree.to_cbor()
    assert data[:3] == b"\xd9\xd9\xf7"
    assert HashTree.from_cbor(data).to_cbor(tagged=False) == data[3:]


@given(LABELS, PATHS)
def test_a_witness_tells_its_paths_and_nothing_besides(labels: Labels, paths: list[list[bytes]]) -> None:
    tree = HashTree.from_labels(labels)
    paths += paths_of(labels)[::3]
    witness = HashTree.from_cbor(tree.witness(paths).to_cbor())
    assert witness.digest == tree.digest
    for path in paths:
        assert verdict(witness, path) == verdict(tree, path)
    for path in paths_of(labels):
        if isinstance(at(labels, path), bytes) and not any(touches(wanted, path) for wanted in paths):
            assert verdict(witness, path) == ("unknown", None)


def touches(wanted: list[bytes], path: list[bytes]) -> bool:
    """Whether a wanted path reveals a leaf: it is at or above it, or leads through it."""
    shorter = min(len(wanted), len(path))
    return wanted[:shorter] == path[:shorter]


@given(LABELS, PATHS, PATHS)
def test_a_witness_of_a_witness_is_that_of_the_tree(
    labels: Labels, paths: list[list[bytes]], more: list[list[bytes]]
) -> None:
    tree = HashTree.from_labels(labels)
    assert tree.witness(paths + more).witness(paths).to_cbor() == tree.witness(paths).to_cbor()


@given(st.binary(max_size=80) | st.recursive(st.just([0]), lambda t: st.tuples(st.just(1), t, t)).map(cbor2.dumps))
def test_bytes_are_a_tree_or_malformed(data: bytes) -> None:
    try:
        tree = HashTree.from_cbor(data)
    except Malformed:
        return
    assert HashTree.from_cbor(tree.to_cbor()).digest == tree.digest


def test_what_is_hidden_is_unknown() -> None:
    tree = HashTree.from_labels({bytes([n]): {b"leaf": b"value"} for n in range(8)})
    witness = tree.witness([[b"\x03"]])
    assert witness.children([b"\x03"]) == [b"leaf"]
    with pytest.raises(PathUnknown) as caught:
        witness.children([b"\x04"])
    assert caught.value.path == "0x04"
    with pytest.raises(PathUnknown, match="0x04/leaf"):
        witness.lookup([b"\x04", b"leaf"])
    with pytest.raises(Malformed, match="0x03 is not a leaf"):
        witness.lookup([b"\x03"])


def test_only_labels_and_leaves_make_a_tree() -> None:
    for wrong in ({"a": b""}, {b"a": "text"}, {b"a": None}):
        with pytest.raises(TypeError):
            HashTree.from_labels(wrong)  # type: ignore[arg-type]
    deep: Labels = {}
    for _ in range(128):
        deep = {b"a": deep}
    with pytest.raises(ValueError, match="127"):
        HashTree.from_labels(deep)
