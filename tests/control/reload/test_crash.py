import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

OLD = "log: {level: error}\n"
NEW = "log: {level: warning}\n"


@asynccontextmanager
async def running(file: Path, step: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.control.reload.dying", str(file), step), stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def says(process: Process) -> str:
    """The next line that is no line of the log."""
    assert process.stdout is not None
    while line := (await asyncio.wait_for(process.stdout.readline(), 60)).decode():
        if line.startswith(("at ", "error ", "warning ", "applied ")):
            return line.strip()
    raise AssertionError("it ended")


async def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


def tell(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def until_killed(file: Path, step: str) -> None:
    """An apply of NEW while OLD runs, killed at a step."""
    write(file, OLD)
    async with running(file, step) as process:
        assert await says(process) == "error 1 0"
        write(file, NEW)
        tell(process)
        assert (await says(process)).startswith("at ")
        await kill(process)


@pytest.mark.parametrize("step", ["prepare", "commit", "write2"])
async def test_a_kill_in_the_middle_of_an_apply_leaves_the_last_good_one_to_run(tmp_path: Path, step: str) -> None:
    file = tmp_path / "gateway.yaml"
    await until_killed(file, step)
    assert file.read_text() == NEW
    for _ in range(2):  # and again, since the file is still the same
        async with running(file, "none") as process:
            assert await says(process) == "error 1 1"
            await kill(process)


async def test_it_runs_when_it_is_asked_for_again_and_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    await until_killed(file, "commit")
    async with running(file, "none") as process:
        assert await says(process) == "error 1 1"
        tell(process)
        assert await says(process) == "applied warning 3"
        await kill(process)
    async with running(file, "none") as process:
        assert await says(process) == "warning 3 0"


async def test_a_kill_before_it_was_written_down_is_an_edit_that_nobody_saw(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    await until_killed(file, "write1")
    async with running(file, "none") as process:
        assert await says(process) == "warning 2 0"
    assert [path.name for path in sorted((tmp_path / "data" / "history").iterdir())] == ["000001.json", "000002.json"]


async def test_a_kill_once_it_is_good_does_not_take_it_back(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    await until_killed(file, "cleanup")
    async with running(file, "none") as process:
        assert await says(process) == "warning 2 0"
