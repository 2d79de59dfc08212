from pathlib import Path

import pytest

from appliance.supervisor.serve import _folder


def test_the_sockets_of_the_workers_are_in_the_runtime_directory_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/another")
    with _folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_without_a_unit_they_are_where_temporary_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with _folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()
