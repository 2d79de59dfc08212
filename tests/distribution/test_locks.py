"""The locks hold everything that pyproject.toml wants, each version with its hashes, and say nothing of where from."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from distribution.source import TOP

FOLDER = TOP / "distribution" / "locks"
ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ;[^\\]+)? \\\n(?P<hashes>(?: +--hash=.*\n)+)", re.M
)
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    return {canonicalize_name(m["name"]): m["version"] for m in ENTRY.finditer((FOLDER / name).read_text())}


def wanted(name: str) -> list[Requirement]:
    if name == "build.txt":
        lines = (FOLDER / "build.in").read_text().splitlines()
        return [Requirement(line) for line in lines if not line.startswith("#")]
    project = PROJECT["project"]
    extras = (line for extra in ("otel", "cluster") for line in project["optional-dependencies"][extra])
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("name", ["gateway.txt", "build.txt"])
def test_a_lock_has_what_is_wanted_in_versions_that_are_allowed(name: str) -> None:
    versions = locked(name)
    for requirement in wanted(name):
        found = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(found), f"{requirement}: {found} is locked; run make lock"


@pytest.mark.parametrize("name", ["gateway.txt", "build.txt"])
def test_every_line_is_a_version_with_hashes(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert ENTRY.sub("", text) == ""
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64} ?\\?", word) for word in re.findall(r"--hash=.*", text))


def test_what_builds_is_what_pyproject_wants_to_build_with() -> None:
    (maturin,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert maturin.specifier.contains(locked("build.txt")["maturin"])


@pytest.mark.parametrize(
    "file", ["Makefile", ".ci/run", "CONTRIBUTING.md", "demo/build.sh", "distribution/image/Dockerfile"]
)
def test_cargo_takes_the_locked_crates(file: str) -> None:
    """Without ``--locked`` a lock that does not fit is changed without a word."""
    for line in (TOP / file).read_text().splitlines():
        if re.search(r"\bcargo (build|test|clippy|run)\b.*--", line):
            assert "--locked" in line, f"{file}: {line}"
    assert PROJECT["tool"]["maturin"]["locked"] is True
