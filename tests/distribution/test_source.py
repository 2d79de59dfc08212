import subprocess
from pathlib import Path

import pytest

from distribution import source


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "repository"
    top.mkdir()
    (top / "kept.txt").write_text("one\n")
    commit(top, "--date=2024-02-03T04:05:06+00:00")
    return top


def commit(top: Path, *options: str) -> None:
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*me, "commit", "-q", "-m", "Change", *options]):
        environment = {"GIT_COMMITTER_DATE": "2024-02-03T04:05:06+00:00", "PATH": "/usr/bin:/bin"}
        subprocess.run(["git", "-C", str(top), *arguments], check=True, env=environment)  # noqa: S603, S607


def test_the_export_is_the_last_commit_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    (repository / "kept.txt").write_text("two\n")
    (repository / "new.txt").write_text("three\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "left.txt").write_text("from before\n")
    source.export(out, repository)
    assert {path.name: path.read_text() for path in out.iterdir()} == {"kept.txt": "one\n"}
    assert source.uncommitted(repository) == ["kept.txt", "new.txt"]


def test_the_time_is_that_of_the_commit_unless_it_is_given(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert source.epoch(repository) == 1706933106
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert source.epoch(repository) == 7


def test_what_is_made_of_a_commit_has_nothing_of_a_later_one(repository: Path, tmp_path: Path) -> None:
    first = source.git("rev-parse", "HEAD", top=repository)
    (repository / "kept.txt").write_text("two\n")
    commit(repository, "--date=2025-02-03T04:05:06+00:00")
    source.export(tmp_path / "out", repository, first)
    source.clone_at(tmp_path / "clone", first, repository)
    for folder in ("out", "clone"):
        assert (tmp_path / folder / "kept.txt").read_text() == "one\n"
