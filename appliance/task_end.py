"""Waiting for the end of a task of one's own, where the waiting may be cancelled too.

``suppress(CancelledError)`` around ``await task`` takes a cancellation of whoever waits for that of the task, and goes
on: a second Ctrl-C, or a time limit around it, would do nothing.
"""

import asyncio
from typing import Any


async def finish(task: "asyncio.Task[Any]") -> None:
    """Wait for the end of a task; if this is cancelled, the task is too. Raises what the task raises, but for its
    cancellation.
    """
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    if not task.cancelled():
        task.result()


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end. Raises as ``finish``."""
    task.cancel()
    await finish(task)
