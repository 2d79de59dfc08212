import shutil
from datetime import date
from pathlib import Path

import pytest

from distribution import release, source, version
from distribution.release import ReleaseError, dated
from tests.distribution.test_source import commit
from tests.distribution.test_version import PLACES

TODAY = date(2026, 1, 2)
CHANGELOG = "# Changelog\n\n## 0.2.0, not released\n\n- A line.\n\n## 0.1.0, 2025-01-01\n\n- Another.\n"


def test_the_changelog_gets_the_day() -> None:
    assert dated(CHANGELOG, "0.2.0", TODAY) == CHANGELOG.replace("not released", "2026-01-02")


@pytest.mark.parametrize(
    ("changelog", "number", "problem"),
    [
        (CHANGELOG, "0.3.0", "begins with a section for 0.2.0; it must begin with `## 0.3.0, not released`"),
        ("# Changelog\n", "0.2.0", "begins with no section"),
        (CHANGELOG.replace("- A line.\n", ""), "0.2.0", "has no line for 0.2.0"),
        (CHANGELOG.replace("not released", "2026-01-01"), "0.2.0", "says that 0.2.0 was released on 2026-01-01"),
    ],
)
def test_a_changelog_that_is_not_ready_stops_the_release(changelog: str, number: str, problem: str) -> None:
    with pytest.raises(ReleaseError, match=problem):
        dated(changelog, number, TODAY)


def test_the_changelog_of_this_checkout_can_be_read() -> None:
    text = (source.TOP / "CHANGELOG.md").read_text()
    heading = release._HEADING.search(text)
    assert heading is not None
    assert text.index("\n## ") + 1 == heading.start()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for place in PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.TOP / place, tmp_path / place)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    commit(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "me")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "me@example.org")
    return tmp_path


def test_a_release_is_one_commit_with_the_version_and_the_day(checkout: Path) -> None:
    assert release.prepare("0.2.0", TODAY, checkout) == "v0.2.0"
    assert source.uncommitted(checkout) == []
    assert source.git("log", "--format=%s", top=checkout).splitlines() == ["Release 0.2.0", "Change"]
    assert {version.read(checkout), *version.copies(checkout).values()} == {"0.2.0"}
    assert "## 0.2.0, 2026-01-02" in (checkout / "CHANGELOG.md").read_text()


def test_what_is_not_committed_stops_the_release(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(CHANGELOG + "more\n")
    with pytest.raises(ReleaseError, match=r"not committed: CHANGELOG\.md"):
        release.prepare("0.2.0", TODAY, checkout)


@pytest.mark.parametrize(("number", "problem"), [("0.2.0", "v0.2.0 is there"), ("0.2", "begins with a section")])
def test_nothing_is_written_for_a_release_that_cannot_be(checkout: Path, number: str, problem: str) -> None:
    source.git("tag", "v0.2.0", top=checkout)
    with pytest.raises(ReleaseError, match=problem):
        release.prepare(number, TODAY, checkout)
    assert source.uncommitted(checkout) == []
