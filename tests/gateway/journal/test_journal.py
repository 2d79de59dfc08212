import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from appliance.errors import JournalUnusable
from appliance.gateway.journal import journal as module
from appliance.gateway.journal.entry import UsedOpening
from appliance.gateway.journal.files import LockedStore
from appliance.gateway.journal.journal import Journal
from appliance.gateway.journal.store import Store
from tests.gateway.bench import until
from tests.gateway.clients import GATEWAY
from tests.gateway.journal.entries import entry, left_in


def journal(folder: Path) -> Journal:
    return Journal(folder / "journal", GATEWAY, clock=lambda: 7)


def on_disk(file: Path) -> int:
    """The clients in the file, as another process reads it meanwhile."""
    database = sqlite3.connect(file)
    try:
        return database.execute("SELECT count(*) FROM clients").fetchone()[0]
    finally:
        database.close()


async def test_an_entry_is_on_the_disk_when_add_returns(tmp_path: Path) -> None:
    async with journal(tmp_path) as kept:
        await kept.add(entry(1), UsedOpening(b"id", 10))
        assert on_disk(kept.file) == 1
    async with journal(tmp_path) as kept:
        assert [each.client for each in kept.left_behind] == ["client 1"]
        assert kept.used == [UsedOpening(b"id", 10)]


async def test_a_client_that_its_canister_forgot_is_removed(tmp_path: Path) -> None:
    async with journal(tmp_path) as kept:
        await kept.add(entry(1), None)
        await kept.add(entry(2), None)
        kept.remove(entry(1).canister_id, entry(1).client_key)
        kept.keep(entry(2).canister_id, entry(2).client_key)
    (left,) = left_in(tmp_path / "journal")
    assert (left.client, left.left_ns) == ("client 2", 7)


async def test_openings_that_come_together_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_blocked, write = threading.Event(), Store.write
    monkeypatch.setattr(Store, "write", lambda *args, **more: (is_blocked.wait(30), write(*args, **more)))
    async with journal(tmp_path) as kept:
        adding = [asyncio.ensure_future(kept.add(entry(number), None)) for number in range(100)]
        await asyncio.sleep(0)
        is_blocked.set()
        await asyncio.gather(*adding)
        assert kept.stats.commits <= 2, "the first, and one for all that came during it"
    assert len(left_in(tmp_path / "journal")) == 100


def full(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_disk_that_takes_nothing_locks_nobody_out_and_gets_all_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    async with journal(tmp_path) as kept:
        with structlog.testing.capture_logs() as logs, monkeypatch.context() as patched:
            patched.setattr(Store, "write", full)
            await kept.add(entry(1), None)
            await kept.add(entry(2), None)
            kept.remove(entry(1).canister_id, entry(1).client_key)
            await until(lambda: kept.stats.failures >= 3)
        assert [line["problem"] for line in logs] == ["database or disk is full"], "once, not for each client"
        await until(lambda: kept.stats.commits)
        await kept.add(entry(3), None)
        assert on_disk(kept.file) == 2
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 2", "client 3"]


async def test_a_disk_that_takes_nothing_is_tried_once_in_a_while_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 3600)
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    async with journal(tmp_path) as kept:
        monkeypatch.setattr(Store, "write", full)
        await kept.add(entry(0), None)
        for number in range(1, 31):
            await kept.add(entry(number), None)
        assert (kept.stats.failures, kept.stats.dropped, len(kept._waiting)) == (1, 20, 10)
        monkeypatch.undo()
    clients = [each.client for each in left_in(tmp_path / "journal")]
    assert clients == ["client 0", *(f"client {number}" for number in range(21, 31))]


async def test_a_change_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    async with journal(tmp_path) as kept:
        await kept.add(entry(1), UsedOpening(b"id", 2**64))
        assert (kept.stats.failures, kept.stats.dropped) == (1, 1)
        await kept.add(entry(2), None)
        await until(lambda: kept.stats.commits)
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 2"]


async def test_a_change_that_cannot_be_written_takes_none_of_its_commit_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_write, write = threading.Event(), threading.Event(), Store.write

    def slow(*args: Any, **more: Any) -> None:
        has_begun.set()
        may_write.wait(30)
        write(*args, **more)

    monkeypatch.setattr(Store, "write", slow)
    async with journal(tmp_path) as kept:
        adding = [asyncio.ensure_future(kept.add(entry(0), None))]
        await until(has_begun.is_set)  # all others are in the next commit
        for number in range(1, 10):
            opening = UsedOpening(b"id", 2**64) if number == 4 else None
            adding.append(asyncio.ensure_future(kept.add(entry(number), opening)))
        await until(lambda: len(kept._waiting) == 9)
        may_write.set()
        await asyncio.gather(*adding)
        assert kept.stats.dropped == 1
    clients = [each.client for each in left_in(tmp_path / "journal")]
    assert clients == [f"client {number}" for number in range(10) if number != 4]


async def test_a_journal_ends_although_its_disk_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal(tmp_path) as kept:
        monkeypatch.setattr(Store, "write", full)
        await kept.add(entry(1), None)
    assert kept._ended.done()
    monkeypatch.undo()
    assert left_in(tmp_path / "journal") == []


async def test_what_a_disk_refused_just_before_the_end_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_fail = threading.Event(), threading.Event()
    async with journal(tmp_path) as kept:

        def fail(*_: object, **__: object) -> None:
            has_begun.set()
            may_fail.wait(30)
            full()

        with monkeypatch.context() as patched:
            patched.setattr(Store, "write", fail)
            adding = asyncio.ensure_future(kept.add(entry(1), None))
            await until(has_begun.is_set)
        closing = asyncio.ensure_future(kept.close())
        await until(lambda: kept._is_ending)
        may_fail.set()
        await closing
        await adding
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 1"]


async def test_a_disk_that_hangs_locks_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_TIMEOUT_S", 0.01)
    is_blocked, write = threading.Event(), Store.write
    kept = journal(tmp_path)
    monkeypatch.setattr(Store, "write", lambda *args, **more: (is_blocked.wait(30), write(*args, **more)))
    await kept.add(entry(1), None)
    assert kept.stats.failures == 1
    is_blocked.set()
    monkeypatch.setattr(module, "COMMIT_TIMEOUT_S", 30)
    await kept.__aexit__()
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 1"]


async def test_a_journal_that_is_opened_too_late_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "journal"
    async with journal(tmp_path) as kept:
        await kept.add(entry(1), None)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(module, "FILE_TIMEOUT_S", 0.01)
    with pytest.raises(JournalUnusable, match="it cannot be opened within"):
        await Journal.opened(file, GATEWAY, clock=lambda: 7)
    other.close()

    def is_free() -> bool:
        files = LockedStore(file, GATEWAY, now_ns=7)
        files.close()
        return files.file == file

    await until(is_free)
