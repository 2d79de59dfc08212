from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.crypto import HashTree, StateTree
from appliance.errors import PathUnknown
from tests.native.test_hash_tree import at, digest, paths_of, verdict

LABEL = st.sampled_from([bytes([n]) for n in range(12)])
PATH = st.lists(LABEL, max_size=3)


class Machine(RuleBasedStateMachine):
    """A state tree is a dict of dicts of bytes that knows its digest."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = StateTree()
        self.model: dict[bytes, Any] = {}

    @rule(path=PATH, value=st.binary(max_size=3))
    def set(self, path: list[bytes], value: bytes) -> None:
        above = [at(self.model, path[:length]) for length in range(len(path))]
        if not path or isinstance(at(self.model, path), dict) or any(isinstance(here, bytes) for here in above):
            with pytest.raises(ValueError, match="path"):
                self.tree.set(path, value)
            return
        self.tree.set(path, value)
        here = self.model
        for label in path[:-1]:
            here = here.setdefault(label, {})
        here[path[-1]] = value

    @rule(path=PATH)
    def delete(self, path: list[bytes]) -> None:
        self.tree.delete(path)
        above = at(self.model, path[:-1])
        if not path:
            self.model.clear()
        elif isinstance(above, dict):
            above.pop(path[-1], None)

    @rule(paths=st.lists(PATH, max_size=4))
    def witness(self, paths: list[list[bytes]]) -> None:
        witness = HashTree.from_cbor(self.tree.witness(paths).to_cbor())
        assert witness.digest == self.tree.digest
        for path in paths:
            there = at(self.model, path)
            if isinstance(there, dict) and there:
                assert witness.children(path) == sorted(there)
            else:
                assert witness.lookup(path) == (there or None if isinstance(there, dict) else there)

    @rule(path=PATH, ends=st.tuples(LABEL, LABEL).map(sorted))
    def witness_range(self, path: list[bytes], ends: list[bytes]) -> None:
        first, last = ends
        witness = HashTree.from_cbor(self.tree.witness_range(path, first, last).to_cbor())
        assert witness.digest == self.tree.digest
        children = at(self.model, path)
        if not isinstance(children, dict):
            return
        shown = {label for label, below in children.items() if first <= label <= last}
        assert set(witness.children(path)) >= shown
        for label, below in children.items():
            if isinstance(below, bytes):
                found = ("found", below) if label in shown else ("unknown", None)
                assert verdict(witness, [*path, label]) == found
        for label in {bytes([n]) for n in range(first[0], last[0] + 1)} - shown:
            assert verdict(witness, [*path, label]) == ("absent", None)

    @invariant()
    def tells_what_the_model_has(self) -> None:
        for path in [[], *paths_of(self.model)]:
            there = at(self.model, path)
            is_leaf = isinstance(there, bytes)
            assert self.tree.get(path) == (there if is_leaf else None)
            assert self.tree.children(path) == ([] if is_leaf else sorted(there))

    @invariant()
    def knows_its_digest(self) -> None:
        assert self.tree.digest == digest(cbor2.loads(self.tree.witness([[]]).to_cbor(tagged=False)))


TestMachine = Machine.TestCase


@given(st.dictionaries(st.binary(max_size=3), st.binary(max_size=3)), st.binary(max_size=3), st.binary(max_size=3))
def test_what_was_removed_is_as_if_it_had_never_been(leaves: dict[bytes, bytes], label: bytes, value: bytes) -> None:
    tree = StateTree()
    for key, leaf in leaves.items():
        tree.set([key], leaf)
    tree.set([label], value)
    tree.delete([label])
    assert tree.children([]) == sorted(leaves.keys() - {label})
    assert tree.get([label]) is None


def test_threads_may_change_a_tree_while_others_read_it() -> None:
    tree = StateTree()

    def change(worker: int) -> None:
        for n in range(500):
            tree.set([bytes([worker]), n.to_bytes(2, "big")], b"value")

    def read(worker: int) -> None:
        for n in range(500):
            path = [bytes([worker]), n.to_bytes(2, "big")]
            assert tree.witness([path]).lookup(path) in (b"value", None)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act, worker) for worker in range(4) for act in (change, read)]:
            done.result()
    assert [len(tree.children([bytes([worker])])) for worker in range(4)] == [500] * 4


def test_a_path_has_its_bounds() -> None:
    tree = StateTree()
    tree.set([b"a"] * 127, b"")
    assert tree.get([b"a"] * 127) == b""
    with pytest.raises(ValueError, match="127"):
        tree.set([b"a"] * 128, b"")
    assert tree.get([b"a"] * 10_000) is None
    assert tree.witness([[b"a"] * 10_000]).digest == tree.digest


def test_a_path_is_a_list_of_bytes() -> None:
    for wrong in ("text", ["text"], b"bytes", [1]):
        with pytest.raises(TypeError):
            StateTree().set(wrong, b"")  # type: ignore[arg-type]


def test_a_large_tree_answers_with_small_witnesses() -> None:
    tree = StateTree()
    for n in range(20_000):
        tree.set([b"map", n.to_bytes(4, "big")], b"value")
    witness = tree.witness([[b"map", (7777).to_bytes(4, "big")]])
    assert len(witness.to_cbor()) < 1200
    assert witness.lookup([b"map", (7777).to_bytes(4, "big")]) == b"value"
    with pytest.raises(PathUnknown):
        witness.lookup([b"map", (7778).to_bytes(4, "big")])
