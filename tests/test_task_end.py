"""A cancellation ends whoever it is meant for."""

import ast
import asyncio
from pathlib import Path

import pytest

from appliance import task_end

TOP = Path(__file__).resolve().parent.parent
FOLDERS = ("appliance", "benchmarks", "demo", "icws", "plugins")


async def _until_cancelled() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_task_is_cancelled_and_its_end_awaited():
    ended = []

    async def work() -> None:
        try:
            await _until_cancelled()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await task_end.cancel(task)
    assert ended == [True]


async def test_a_task_that_ends_by_itself_is_not_cancelled():
    task = asyncio.create_task(asyncio.sleep(0, "result"))
    await task_end.finish(task)
    assert task.result() == "result"


@pytest.mark.parametrize("end", [task_end.cancel, task_end.finish])
async def test_what_the_task_raises_is_not_lost(end):
    async def work() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await end(task)


@pytest.mark.parametrize("end", [task_end.cancel, task_end.finish])
async def test_a_cancellation_of_whoever_waits_ends_the_waiting_and_the_task(end):
    clean_up, is_cleaning = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await _until_cancelled()
        finally:
            is_cleaning.set()
            await clean_up.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(end(task))
    await asyncio.sleep(0)
    waiting.cancel()
    await is_cleaning.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clean_up.set()
    await asyncio.wait({task})
    assert task.cancelled()


def _swallowed(source: str) -> list[int]:
    """The lines at which a cancellation is suppressed around an await."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.With)
        and any("CancelledError" in ast.unparse(item) or "BaseException" in ast.unparse(item) for item in node.items)
        and any(isinstance(inner, ast.Await) for inner in ast.walk(node))
    ]


def test_nobody_takes_the_cancellation_of_a_caller_for_that_of_a_task():
    assert _swallowed("async def f(t):\n    with suppress(OSError, asyncio.CancelledError):\n        await t") == [2]
    files = [path for folder in FOLDERS for path in (TOP / folder).rglob("*.py") if "node_modules" not in path.parts]
    found = [f"{path.relative_to(TOP)}:{line}" for path in files for line in _swallowed(path.read_text())]
    assert not found
