import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distribution import version
from distribution.source import TOP

PLACES = [version.PLACE, version.LOCK, version.NPM_PACKAGE, version.NPM_LOCK]
NUMBERS = st.builds(
    "{}.{}.{}{}".format, *[st.integers(0, 99)] * 3, st.one_of(st.just(""), st.integers(1, 9).map("rc{}".format))
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place in PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / place, tmp_path / place)
    return tmp_path


def test_every_copy_is_that_of_the_place() -> None:
    copies = version.copies()
    assert {f"{version.LOCK} icws-{crate}" for crate in ("native", "core", "client")} < set(copies)
    assert set(copies.values()) == {version.read()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(NUMBERS)
def test_what_is_written_is_read_everywhere(tree: Path, number: str) -> None:
    version.write(number, tree)
    assert {version.read(tree), *version.copies(tree).values()} == {number}
    assert version.write(number, tree) == []


def test_nothing_else_is_changed(tree: Path) -> None:
    version.write("98.76.54", tree)
    assert version.write(version.read(), tree) == PLACES
    assert all((tree / place).read_text() == (TOP / place).read_text() for place in PLACES)


@pytest.mark.parametrize("number", ["", "1.2", "v1.2.3", "1.2.3-rc1", "1.2.3 "])
def test_what_is_no_version_is_refused(tree: Path, number: str) -> None:
    with pytest.raises(ValueError, match=r"write 1\.2\.3"):
        version.write(number, tree)
