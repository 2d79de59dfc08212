"""Laws of ``whole_files.py``."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.whole_files import write_new, write_whole


@pytest.fixture(params=[write_new, write_whole])
def write(request: pytest.FixtureRequest) -> Callable[..., None]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system as that of a memory stick."""

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


def test_a_file_is_written_with_its_mode_and_nothing_beside_it(tmp_path: Path, write: Callable[..., None]) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"data", mode=0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == b"data"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_an_earlier_file_is_replaced_by_one_and_kept_by_the_other(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_new(file, b"first", mode=0o600)
    with pytest.raises(FileExistsError, match="file"):
        write_new(file, b"second", mode=0o600)
    assert file.read_bytes() == b"first"
    write_whole(file, b"third", mode=0o600)
    assert file.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.usefixtures("no_links")
def test_a_new_file_needs_no_links(tmp_path: Path) -> None:
    write_new(tmp_path / "file", b"data", mode=0o600)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", b"more", mode=0o600)
    assert (tmp_path / "file").read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_leaves_nothing_and_names_the_file(
    tmp_path: Path, write: Callable[..., None], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write(tmp_path / "file", b"data", mode=0o600)
    assert raised.value.filename == str(tmp_path / "file")
    assert os.listdir(tmp_path) == []
