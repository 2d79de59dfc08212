from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import HashTree, encode_cbor
from appliance.errors import PathUnknown
from appliance.localnet.websocket.certified_map import CertifiedMap, labeled_digest

KEYS = st.integers(0, 60).map(lambda number: b"%02d" % number)
STEPS = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=80)


def made(steps: list[tuple[bytes, bytes | None]]) -> tuple[CertifiedMap, dict[bytes, bytes]]:
    """After putting values and, for None, removing keys; beside a dict that went through the same."""
    entries, model = CertifiedMap(), dict[bytes, bytes]()
    for key, value in steps:
        if value is None:
            entries = entries.without(key)
            model.pop(key, None)
        else:
            entries = entries.having(key, value)
            model[key] = value
    return entries, model


def shown(entries: CertifiedMap, first: bytes, last: bytes) -> HashTree:
    return HashTree.from_cbor(encode_cbor(entries.witness(first, last)))


@given(STEPS)
def test_it_holds_what_a_dict_would(steps: list[tuple[bytes, bytes | None]]) -> None:
    entries, model = made(steps)
    assert list(entries) == sorted(model)
    assert all((key in entries) == (key in model) for key, _ in steps)
    tree = shown(entries, b"", b"99")
    assert tree.digest == entries.digest
    assert {key: tree.lookup([key]) for key in model} == model


@given(STEPS, st.data())
def test_a_witness_shows_a_range_and_hides_the_rest(
    steps: list[tuple[bytes, bytes | None]], data: st.DataObject
) -> None:
    entries, model = made([*steps, (b"30", b"x")])
    first, last = sorted([data.draw(st.sampled_from(sorted(model))), data.draw(st.sampled_from(sorted(model)))])
    tree = shown(entries, first, last)
    assert tree.digest == entries.digest
    for key, value in model.items():
        if first <= key <= last:
            assert tree.lookup([key]) == value
        else:
            with pytest.raises(PathUnknown):
                tree.lookup([key])


@given(STEPS)
def test_it_stays_a_left_leaning_red_black_tree(steps: list[tuple[bytes, bytes | None]]) -> None:
    def black_height(node: Any) -> int:
        if node is None:
            return 1
        assert node.right is None or not node.right.is_red, "red leans to the left"
        assert not (node.is_red and node.left is not None and node.left.is_red), "no two red ones in a row"
        left, right = black_height(node.left), black_height(node.right)
        assert left == right, "as many black ones on every way down"
        return left + (not node.is_red)

    black_height(made(steps)[0]._root)


@given(STEPS, STEPS)
def test_a_map_never_changes(before: list[tuple[bytes, bytes | None]], after: list[tuple[bytes, bytes | None]]) -> None:
    entries, model = made(before)
    digest = entries.digest
    for key, value in after:
        entries.without(key) if value is None else entries.having(key, value)
    assert (entries.digest, list(entries)) == (digest, sorted(model))


def test_digests_are_those_of_the_specification() -> None:
    assert CertifiedMap().digest == HashTree.from_labels({}).digest
    entry = CertifiedMap().having(b"key", b"value")
    assert entry.digest == HashTree.from_labels({b"key": b"value"}).digest
    assert labeled_digest(b"above", entry.digest) == HashTree.from_labels({b"above": {b"key": b"value"}}).digest
