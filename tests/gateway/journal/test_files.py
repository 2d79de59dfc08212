import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from appliance.errors import JournalUnusable
from appliance.gateway.journal.entry import UsedOpening
from appliance.gateway.journal.files import LockedStore
from appliance.gateway.journal.store import Store
from tests.gateway.clients import GATEWAY
from tests.gateway.journal.entries import entry, left_in


def locked(file: Path, *, gateway: bytes = GATEWAY) -> LockedStore:
    return LockedStore(file, gateway, now_ns=0)


def test_a_process_finds_what_the_one_before_left(tmp_path: Path) -> None:
    files = locked(tmp_path / "data" / "journal")
    assert files.left_behind == []
    assert files.openings == []
    files.store.write([entry(1), entry(2), UsedOpening(b"id", 10)], now_ns=5)
    files.close()
    files = locked(tmp_path / "data" / "journal")
    assert [each.client for each in files.left_behind] == ["client 1", "client 2"]
    assert files.openings == [UsedOpening(b"id", 10)]
    files.close()


def test_processes_beside_each_other_have_a_journal_each(tmp_path: Path) -> None:
    first, second = locked(tmp_path / "journal"), locked(tmp_path / "journal")
    first.store.write([entry(1)], now_ns=0)
    second.store.write([entry(2)], now_ns=0)
    third = locked(tmp_path / "journal")
    assert third.left_behind == [], "those of processes that live are theirs"
    assert len({first.file, second.file, third.file}) == 3
    for files in (first, second, third):
        files.close()


def test_what_nobody_holds_is_taken_over_once(tmp_path: Path) -> None:
    first, second = locked(tmp_path / "journal"), locked(tmp_path / "journal")
    second.store.write([entry(2), UsedOpening(b"id", 10)], now_ns=0)
    second.close()
    third = locked(tmp_path / "journal")  # takes the place of the second, and with it its file
    assert [each.client for each in third.left_behind] == ["client 2"]
    third.close()
    first.close()
    fourth = locked(tmp_path / "journal")  # takes that of the first, and what is in the other
    assert [each.client for each in fourth.left_behind] == ["client 2"]
    assert fourth.openings == [UsedOpening(b"id", 10)]
    assert not (tmp_path / "journal.1").exists()
    fourth.close()
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 2"], "it is on the disk here now"


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from tests.gateway.journal.test_files import *\n"
        "files = locked(Path(os.environ['JOURNAL'])); files.store.write([entry(1)], now_ns=0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"JOURNAL": str(tmp_path / "journal"), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False)  # noqa: S603
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 1"]


@pytest.mark.parametrize("damage", [b"this is no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_journal_is_moved_aside(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "journal").write_bytes(damage)
    files = locked(tmp_path / "journal")
    files.store.write([entry(1)], now_ns=0)
    files.close()
    assert (tmp_path / "journal.unusable").read_bytes() == damage
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 1"]


def test_the_journal_of_another_identity_is_moved_aside(tmp_path: Path) -> None:
    files = locked(tmp_path / "journal")
    files.store.write([entry(1)], now_ns=0)
    files.close()
    assert left_in(tmp_path / "journal", gateway=b"another") == []
    (tmp_path / "journal.unusable").rename(tmp_path / "journal")
    assert [each.client for each in left_in(tmp_path / "journal")] == ["client 1"]


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(JournalUnusable, match=str(tmp_path / "file" / "journal")):
        locked(tmp_path / "file" / "journal")


@contextmanager
def of_another_user(file: Path) -> Iterator[None]:
    """A file that this process may not open, as after one run as root, beside others that it may. Root itself becomes
    nobody meanwhile.
    """
    for other in file.parent.iterdir():
        other.chmod(0 if other == file else 0o666)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may use, and all above it too."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize("name", ["journal.1", "journal.1.lock"])
def test_what_another_user_has_left_keeps_nobody_from_a_journal(shared: Path, name: str) -> None:
    first, second = locked(shared / "journal"), locked(shared / "journal")
    second.close()
    with of_another_user(shared / name), structlog.testing.capture_logs() as logs:
        third = locked(shared / "journal")  # beside the first: passes over that of the second
    third.store.write([entry(1)], now_ns=0)
    third.close()
    first.close()
    assert third.file == shared / "journal.2"
    assert {line["file"] for line in logs} == {str(shared / "journal.1")}
    with of_another_user(shared / name):
        fourth = locked(shared / "journal")  # takes over what it may
    fourth.close()
    assert (fourth.file, [each.client for each in fourth.left_behind]) == (shared / "journal", ["client 1"])


def test_a_journal_of_another_user_is_named(shared: Path) -> None:
    locked(shared / "journal").close()
    with of_another_user(shared / "journal"), pytest.raises(JournalUnusable, match=r"journal.*Permission denied"):
        locked(shared / "journal")


@pytest.mark.parametrize("method", ["gateway", "claim", "leave_behind", "openings"])
def test_a_journal_that_cannot_be_opened_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(Store, method, property(fail) if method == "gateway" else fail)
        with pytest.raises(JournalUnusable, match="disk I/O error"):
            locked(tmp_path / "journal")
    assert len(os.listdir("/proc/self/fd")) == before
    files = locked(tmp_path / "journal")
    assert files.file == tmp_path / "journal"
    files.close()


def test_a_journal_of_another_identity_is_used_only_if_no_client_is_left_in_it(tmp_path: Path) -> None:
    file, other = tmp_path / "journal", bytes([9, 9])
    files = locked(file)
    files.store.write([UsedOpening(b"id", 10)], now_ns=0)
    files.close()
    files = locked(file, gateway=other)
    assert files.openings == [UsedOpening(b"id", 10)]
    files.store.write([entry(1)], now_ns=0)
    files.close()
    files = locked(file)
    assert files.left_behind == []
    assert files.openings == []
    files.close()
    assert [each.client for each in left_in(tmp_path / "journal.unusable", gateway=other)] == ["client 1"]
