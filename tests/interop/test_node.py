"""The projects themselves: what a fresh clone would install."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import node
from tests.needs import program

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


# --- one process for many runs --------------------------------------------------------------------------------------

LEAVES = """
process.stdout.write(JSON.stringify({ event: "pid", pid: process.pid, ticks: globalThis.ticks ?? 0 }) + "\\n");
globalThis.ticks = 0;
const { port } = JSON.parse(process.argv[2]);
require("node:net").connect(port, "127.0.0.1", () => {
  setInterval(() => { globalThis.ticks += 1; }, 1);
  setTimeout(() => { globalThis.ticks += 1000; }, 50);
  process.exit();
});
"""
THROWS = """
process.stdout.write(JSON.stringify({ event: "pid", pid: process.pid }) + "\\n");
process.stdin.once("data", () => { throw new Error("nobody catches this"); });
"""


@pytest.fixture(name="folder")
def folder_with_node(tmp_path: Path) -> Path:
    """A folder for drivers of ours, where there is Node."""
    program("node", "interop")
    return tmp_path


async def test_a_run_leaves_no_timer_and_no_connection_to_the_next(folder: Path) -> None:
    script = folder / "leaves.cjs"
    script.write_text(LEAVES)
    ended = asyncio.Queue[bytes]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1") as server:
        seen = []
        for _ in range(3):
            async with node.Driver(folder, str(script), {"port": server.sockets[0].getsockname()[1]}) as driver:
                seen.append(await driver.expect("pid"))
            assert await ended.get() == b""
    assert len({line["pid"] for line in seen}) == 1
    assert [line["ticks"] for line in seen] == [0, 0, 0]


async def test_a_run_that_throws_ends_its_process(folder: Path) -> None:
    script = folder / "throws.cjs"
    script.write_text(THROWS)
    pids = set()
    for _ in range(2):
        with pytest.raises(AssertionError, match="has ended") as caught:  # noqa: PT012
            async with node.Driver(folder, str(script), {}) as driver:
                pids.add((await driver.expect("pid"))["pid"])
                await driver.tell(now=True)
                await driver.expect("more")
        assert "nobody catches this" in "".join(caught.value.__notes__)
    assert len(pids) == 2


async def test_runs_at_the_same_time_have_a_process_each(folder: Path) -> None:
    script = folder / "throws.cjs"
    script.write_text(THROWS.replace("throw new Error", "process.exit(); Error"))
    async with node.Driver(folder, str(script), {}) as first, node.Driver(folder, str(script), {}) as second:
        pids = {(await driver.expect("pid"))["pid"] for driver in (first, second)}
        for driver in (first, second):
            await driver.tell(now=True)
            assert await driver.line() is None
    assert len(pids) == 2
