import ctypes
import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.wasm import memory
from appliance.localnet.wasm.memory import PAGE, WASM_PAGE, CopiedMemory, MappedMemory, SparseFile, can_map, view
from appliance.localnet.wasm.state import OutOfBounds, StableView, WasmState

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
SIZE = 4 * WASM_PAGE
WRITES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=3 * PAGE)), max_size=8)


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.mark.parametrize(
    "kind", [pytest.param(MappedMemory, marks=pytest.mark.skipif(not can_map(), reason="no page map")), CopiedMemory]
)
@given(rounds=st.lists(st.tuples(WRITES, st.booleans()), max_size=4), grown=st.integers(0, 2))
def test_what_is_committed_stays_and_nothing_else(
    kind: type[MappedMemory] | type[CopiedMemory], rounds: list[tuple[list[tuple[int, bytes]], bool]], grown: int
) -> None:
    stored, model = SparseFile(SIZE), bytearray(SIZE)
    for writes, is_saved in rounds:
        with mmap.mmap(-1, SIZE + grown * WASM_PAGE, flags=PRIVATE) as pages:
            address = address_of(pages)
            attached = kind(stored, address)
            changed = bytearray(model) + bytes(len(pages) - len(model))
            content = view(address, len(pages))
            assert content == changed
            for offset, whole in writes:
                data = whole[: len(changed) - offset]
                content[offset : offset + len(data)] = data
                changed[offset : offset + len(data)] = data
            if is_saved:
                attached.commit(len(pages), stored)
                model = changed
            content.release()
        assert stored.read(0, stored.size) == model
        if is_saved and grown:
            break  # the next memory would be as long as the file


@pytest.mark.skipif(not can_map(), reason="no page map")
def test_only_changed_pages_are_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, written = SparseFile(SIZE), []
    with mmap.mmap(-1, SIZE, flags=PRIVATE) as pages:
        address = address_of(pages)
        attached = MappedMemory(stored, address)
        content = view(address, SIZE)
        assert sum(content) == 0, "every page is read"
        content[5 * PAGE] = content[9 * PAGE + 7] = 1
        monkeypatch.setattr(SparseFile, "write", lambda self, offset, data: written.append((offset, len(data))))
        attached.commit(SIZE, stored)
        content.release()
    assert written == [(5 * PAGE, PAGE), (9 * PAGE, PAGE)]


def test_a_first_memory_is_copied_since_its_pages_are_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    with mmap.mmap(-1, WASM_PAGE, flags=PRIVATE) as pages:
        address = address_of(pages)
        assert isinstance(memory.attach(SparseFile(), address), CopiedMemory)
        monkeypatch.setattr(memory, "can_map", lambda: False)
        assert isinstance(memory.attach(SparseFile(WASM_PAGE), address), CopiedMemory)


@given(writes=WRITES)
def test_a_copy_is_equal_and_apart(writes: list[tuple[int, bytes]]) -> None:
    file = SparseFile(SIZE)
    for offset, data in writes:
        file.write(offset, data[: SIZE - offset])
    before = file.read(0, SIZE)
    copy = file.copy()
    assert (copy.size, copy.read(0, SIZE)) == (SIZE, before)
    copy.write(0, b"other")
    assert file.read(0, SIZE) == before


def test_a_file_without_memfd_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    file = SparseFile(10)
    file.write(3, b"abc")
    assert file.copy().read(0, 10) == b"\0\0\0abc\0\0\0\0"


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("grow"), st.integers(0, 3)),
            st.tuples(st.just("write"), st.integers(0, 2**19), st.binary(max_size=9000)),
            st.tuples(st.just("read"), st.integers(0, 2**19), st.integers(0, 9000)),
            st.tuples(st.just("commit")),
            st.tuples(st.just("forget")),
        ),
        max_size=20,
    )
)
def test_stable_memory_is_as_a_byte_array_that_is_committed_or_forgotten(steps: list[tuple[object, ...]]) -> None:
    state = WasmState()
    committed, now = bytearray(), bytearray()
    stable = StableView(state.stable)
    for step in steps:
        match step:
            case ("grow", int(pages)):
                assert stable.grow(pages) == len(now) // WASM_PAGE
                now += bytes(pages * WASM_PAGE)
            case ("write", int(offset), bytes(data)) if offset + len(data) <= len(now):
                stable.write(offset, data)
                now[offset : offset + len(data)] = data
            case ("read", int(offset), int(size)) if offset + size <= len(now):
                assert stable.read(offset, size) == now[offset : offset + size]
            case ("write", int(offset), bytes(data)):
                with pytest.raises(OutOfBounds):
                    stable.write(offset, data)
            case ("read", int(offset), int(size)):
                with pytest.raises(OutOfBounds):
                    stable.read(offset, size)
            case ("commit",):
                stable.commit(state.stable)
                committed = bytearray(now)
            case ("forget",):
                stable, now = StableView(state.stable), bytearray(committed)
        assert (stable.size, state.stable.size) == (len(now), len(committed))
        assert state.stable.read(0, state.stable.size) == committed


def test_stable_memory_has_an_end() -> None:
    stable = StableView(SparseFile())
    assert stable.grow(2**40) == -1
    assert stable.grow(500 * 2**14) == 0
    assert stable.grow(1) == -1
    assert stable.read(400 * 2**30, 3) == b"\0\0\0", "which takes no memory before it is written"
