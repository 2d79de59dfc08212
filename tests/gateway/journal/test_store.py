import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.gateway.journal import store as module
from appliance.gateway.journal.entry import MEMORY_NS, Entry, UsedOpening
from appliance.gateway.journal.store import Departure, Removal, Store
from tests.gateway.journal.entries import entry

HOUR_NS = 3600 * 10**9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "journal")
    made.claim(b"gateway")
    yield made
    made.close()


def test_its_files_are_private(store: Store, tmp_path: Path) -> None:
    store.write([entry()], now_ns=1)
    files = list(tmp_path.iterdir())
    assert {file.name for file in files} == {"journal", "journal-wal", "journal-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_commit_is_flushed_to_the_disk(store: Store) -> None:
    """WAL with FULL flushes each commit; NORMAL would only keep the file whole."""
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_all_of_a_commit_or_nothing(store: Store) -> None:
    store.write([entry(1)], now_ns=1)
    with pytest.raises(sqlite3.Error):
        store.write([Removal(entry(1).canister_id, entry(1).client_key), UsedOpening(b"id", object())], now_ns=2)
    assert [each.client for each in store.leave_behind(3)] == ["client 1"]


def test_openings_are_kept_until_they_expire(store: Store) -> None:
    store.write([UsedOpening(b"soon", 10), UsedOpening(b"late", 20)], now_ns=1)
    assert {each.request_id for each in store.openings(10)} == {b"soon", b"late"}
    store.prune(11)
    assert store.openings(0) == [UsedOpening(b"late", 20)]


@pytest.mark.parametrize("generation", ["v0", "v1", "v2"])
def test_a_client_is_left_behind_for_as_long_as_its_canister_may_remember_it(store: Store, generation: str) -> None:
    store.write([entry(generation=generation)], now_ns=HOUR_NS)  # the last sign of life of the process
    memory_ns = MEMORY_NS.get(generation, 1000 * HOUR_NS)
    assert [each.left_ns for each in store.leave_behind(HOUR_NS + memory_ns)] == [HOUR_NS]
    assert bool(store.leave_behind(HOUR_NS + memory_ns + 1)) == (generation == "v0")


def test_a_client_whose_close_call_failed_ages_from_when_it_left(store: Store) -> None:
    store.write([entry(1), entry(2)], now_ns=0)
    store.write([Departure(entry(1).canister_id, entry(1).client_key, 5)], now_ns=HOUR_NS)
    assert [each.client for each in store.leave_behind(HOUR_NS + 6)] == ["client 2"]


def test_those_that_cannot_be_reported_are_bounded_and_those_that_are_here_are_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LEFT", 2)
    store.write([entry(number, generation="v0") for number in range(6)], now_ns=0)
    gone = [entry(number) for number in (3, 0, 4, 1)]
    store.write([Departure(each.canister_id, each.client_key, at) for at, each in enumerate(gone)], now_ns=1)
    store.prune(2)
    assert [each.client for each in store.leave_behind(2)] == ["client 1", "client 4"]


class StoreMachine(RuleBasedStateMachine):
    """The store against a plain dict, over restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "journal")
        self.store._database.execute("PRAGMA synchronous = OFF")  # it is about what is in the file, not about the disk
        self.store.claim(b"gateway")
        self.model: dict[bytes, Entry] = {}

    @rule(numbers=st.lists(st.integers(0, 5)), is_added=st.booleans())
    def write(self, numbers: list[int], is_added: bool) -> None:
        entries = [entry(number) for number in numbers]
        removals = [Removal(each.canister_id, each.client_key) for each in entries]
        self.store.write(entries if is_added else removals, now_ns=1)
        for each in entries:
            self.model.pop(each.client_key, None)
            if is_added:
                self.model[each.client_key] = each

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @invariant()
    def same_and_in_order(self) -> None:
        assert [each.client_key for each in self.store.leave_behind(1)] == list(self.model)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=20, stateful_step_count=15)  # each step is a file access
