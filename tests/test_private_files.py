"""Laws of ``private_files.py``."""

import os
import resource
import stat
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import private_files
from appliance.config.load import load
from appliance.errors import ConfigError, KeyUnusable
from appliance.ic.key_file import load_identity
from appliance.private_files import access_problem, make_private_folders, read_bytes
from tests.needs import lacks


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_every_folder_that_is_made_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private_folders(tmp_path / "data" / "history" / "deep")
    finally:
        os.umask(before)
    for folder in ("data", "data/history", "data/history/deep"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    make_private_folders(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o755


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert read_bytes(tmp_path / "file", 70_000) == b"x" * 70_000
    assert read_bytes(tmp_path / "file", 200_000) == b"x" * 100_000


def test_a_file_is_read_beside_a_thousand_open_sockets(tmp_path: Path) -> None:
    """``select`` knows no descriptors beyond 1,023."""
    (tmp_path / "file").write_bytes(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        lacks(f"this process may open {hard} files, and the test needs 2048; `ulimit -n` of the shell says more")
    with ExitStack() as stack:
        if soft != resource.RLIM_INFINITY and soft < 2048:
            resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1030):
            stack.enter_context(Path(os.devnull).open())
        assert read_bytes(tmp_path / "file", 10) == b"x"


def test_a_pipe_with_a_writer_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "PATIENCE_S", 60.0)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # lets the writer open it first
    writer = (tmp_path / "pipe").open("wb")
    read_end, write_end = os.pipe()

    def write() -> None:
        os.read(read_end, 1)
        writer.write(b"x" * 100)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    os.write(write_end, b".")
    try:
        assert read_bytes(tmp_path / "pipe", 1000) == b"x" * 100
    finally:
        thread.join()
        for descriptor in (reader, read_end, write_end):
            os.close(descriptor)


def test_a_pipe_whose_writer_has_left_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # what was written stays for a reader
    try:
        with (tmp_path / "pipe").open("wb") as writer:
            writer.write(b"x" * 100)
        assert read_bytes(tmp_path / "pipe", 1000) == b"x" * 100
    finally:
        os.close(reader)


@pytest.mark.parametrize("has_writer", [False, True])
def test_a_pipe_that_nobody_writes_to_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_writer: bool
) -> None:
    monkeypatch.setattr(private_files, "PATIENCE_S", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    both = os.open(pipe, os.O_RDWR) if has_writer else None
    try:
        with pytest.raises(TimeoutError):
            read_bytes(pipe, 1000)
        with pytest.raises(KeyUnusable, match="nothing was written to this pipe"):
            load_identity(pipe)
        with pytest.raises(ConfigError, match="nothing was written to this pipe"):
            load(pipe)
    finally:
        if both is not None:
            os.close(both)


@pytest.mark.parametrize(
    ("owner", "mode", "command"),
    [
        (0, 0o600, None),
        (0, 0o440, None),
        (0, 0o640, None),
        (0, 0o644, "chmod 640"),
        (0, 0o604, "chmod 600"),
        (0, 0o660, "chmod 640"),
        (1, 0o400, None),
        (1, 0o640, "chmod 600"),
        (1, 0o604, "chmod 600"),
    ],
)
def test_a_secret_is_for_its_owner_and_for_a_group_only_if_root_gives_it(
    monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, command: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    status = SimpleNamespace(st_uid=owner, st_mode=0o100000 | mode)
    monkeypatch.setattr(os, "stat", lambda _: status)
    problem = access_problem("/etc/a key")
    assert problem == (command and f"/etc/a key is open to other users (mode {mode:04o}); run: {command} '/etc/a key'")
