"""The projects themselves: what a fresh clone would install."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import node

PROJECTS = sorted(folder.parent for folder in node.HERE.glob("*/package.json"))


def test_there_are_projects() -> None:
    assert len(PROJECTS) == 11


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_lock_files_name_versions_and_sums_but_no_registry(folder: Path) -> None:
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    assert packages[""]["dependencies"] == wanted
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")
    assert "omit-lockfile-registry-resolved=true" in (folder / ".npmrc").read_text()


async def test_a_driver_that_ends_early_is_noticed(project: Callable[[str], Path]) -> None:
    folder = project("ic-websocket-js-0.5.0")
    options = {"url": "ws://127.0.0.1:1", "networkUrl": "http://127.0.0.1:1", "canisterId": "aaaaa-aa"}
    async with node.Driver(folder, "websocket.cjs", options) as driver:
        with pytest.raises(AssertionError, match="has ended"):
            await driver.expect("open")
