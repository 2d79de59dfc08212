from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.canisters.chunk_store import STORE_LIMIT, ChunkStore, ChunkStoreError


@given(st.lists(st.binary(max_size=5), max_size=8), st.data())
def test_a_module_is_its_chunks_in_their_order(chunks: list[bytes], data: st.DataObject) -> None:
    store = ChunkStore()
    hashes = [store.put(chunk) for chunk in chunks]
    assert set(store) == {sha256(chunk).digest() for chunk in chunks}
    assert store.size == sum(map(len, set(chunks)))
    order = data.draw(st.permutations(range(len(chunks))))
    module = b"".join(chunks[index] for index in order)
    assert store.assemble([hashes[index] for index in order], sha256(module).digest()) == module
    with pytest.raises(ChunkStoreError, match="does not match"):
        store.assemble(hashes, bytes(32))
    store.clear()
    assert len(store) == 0


def test_a_store_is_full_at_some_time() -> None:
    store = ChunkStore()
    for number in range(STORE_LIMIT):
        store.put(bytes([number]))
    store.put(b"\0")
    with pytest.raises(ChunkStoreError, match="maximum capacity of 100 chunks"):
        store.put(b"one more")
    with pytest.raises(ChunkStoreError, match="was not found"):
        store.get(bytes(32))
