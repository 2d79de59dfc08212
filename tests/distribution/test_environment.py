import os
import stat
from pathlib import Path

import pytest

from distribution import environment
from distribution.environment import SITE
from tests.distribution.wheels import wheel


def tree(folder: Path) -> dict[str, tuple[int, float, str]]:
    return {
        str(path.relative_to(folder)): (
            stat.S_IMODE(path.lstat().st_mode),
            path.lstat().st_mtime,
            os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


LOCK = """\
a==1.0 \\
    --hash=sha256:0a
b==2.0 ; python_full_version < '3.11.3' \\
    --hash=sha256:0b \\
    --hash=sha256:1b
c==3.0 ; sys_platform == 'win32' \\
    --hash=sha256:0c
d==4.0 ; python_full_version >= '3.11.3' \\
    --hash=sha256:0d
e==5.0 ; implementation_name == 'cpython' and sys_platform == 'linux' \\
    --hash=sha256:0e
"""


def test_of_a_lock_debian_gets_what_its_own_python_needs() -> None:
    """Whatever Python builds: that of Debian 12 is 3.11.2, for which Redis needs a package more."""
    assert environment.applicable(LOCK).split() == [
        *("a==1.0", "\\", "--hash=sha256:0a"),
        *("b==2.0", "\\", "--hash=sha256:0b", "\\", "--hash=sha256:1b"),
        *("e==5.0", "\\", "--hash=sha256:0e"),
    ]
    assert "async-timeout==" in environment.applicable(environment.LOCK.read_text())
    assert ";" not in environment.applicable(environment.LOCK.read_text())


def test_modules_are_where_python_looks_and_programs_of_others_are_left_out(tmp_path: Path) -> None:
    one = wheel(tmp_path, "one", {"one/__init__.py": "1", "one-1.0.data/scripts/one": "#!python"})
    two = wheel(tmp_path, "two", {"two-1.0.data/purelib/two.py": "2", "two-1.0.data/platlib/deep/two.py": "3"})
    environment.build(tmp_path / "opt", [one, two], installer="deb")
    found = tree(tmp_path / "opt")
    assert [found[f"{SITE}/{name}"][2] for name in ("one/__init__.py", "two.py", "deep/two.py")] == ["1", "2", "3"]
    assert sorted(name for name in found if name.startswith("bin/")) == ["bin/icws", "bin/python"]
    assert found[f"{SITE}/one-1.0.dist-info/INSTALLER"][2] == "deb\n"
    assert found["bin/icws"][0] == 0o755


@pytest.mark.parametrize("place", ["../out.py", "/etc/out.py", "bad-1.0.data/data/etc/out", "bad-1.0.data/headers/a.h"])
def test_files_for_elsewhere_are_refused(tmp_path: Path, place: str) -> None:
    bad = wheel(tmp_path, "bad", {place: "x"})
    with pytest.raises(ValueError, match=r"bad-1.0-py3-none-any.whl: \S+ (lies outside|has no place)"):
        environment.build(tmp_path / "opt", [bad], installer="deb")
    assert not (tmp_path / "out.py").exists()


def test_the_same_wheels_make_the_same_files(tmp_path: Path) -> None:
    wheels = [wheel(tmp_path, name, {f"{name}.py": name}) for name in ("a", "b")]
    for folder, order, umask in (("first", wheels, 0o022), ("second", wheels[::-1], 0o077)):
        before = os.umask(umask)
        try:
            environment.build(tmp_path / folder, order, installer="image")
            environment.settle(tmp_path / folder, 1_700_000_000)
        finally:
            os.umask(before)
    assert tree(tmp_path / "first") == tree(tmp_path / "second")
    assert {mtime for _, mtime, _ in tree(tmp_path / "first").values()} == {1_700_000_000}


def test_the_metadata_are_those_of_the_wheels(tmp_path: Path) -> None:
    wheels = [wheel(tmp_path, "b", {}, licence="ISC"), wheel(tmp_path, "A", {})]
    environment.build(tmp_path / "opt", wheels, installer="deb")
    assert environment.metadata(tmp_path / "opt" / SITE) == [
        {"name": "A", "version": "1.0", "licence": "MIT"},
        {"name": "b", "version": "1.0", "licence": "ISC"},
    ]
