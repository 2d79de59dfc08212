"""What the kernel counts of a process, against what the process counts itself."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from appliance.bench.processes import Usage, started


def _burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_cpu_of_all_threads_counts_those_that_ended_too() -> None:
    before, own = Usage.of(os.getpid()), time.process_time()
    thread = threading.Thread(target=_burn, args=(0.05,))
    thread.start()
    thread.join()
    spent = Usage.of(os.getpid()).cpu_s - before.cpu_s
    # The reading after is later than the one of the kernel's clock, and the one before is later, too.
    assert spent >= 0.05
    assert before.cpu_s <= own
    assert Usage.of(os.getpid()).cpu_s <= time.process_time()


def test_the_loop_is_the_first_thread() -> None:
    before = Usage.of(os.getpid())
    _burn(0.05)
    after = Usage.of(os.getpid())
    assert after.loop_cpu_s - before.loop_cpu_s >= 0.04
    assert after.loop_cpu_s <= after.cpu_s
    assert after.rss > 2**20
    assert after.threads >= 1


def _children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{threading.main_thread().native_id}/children").read_text().split())


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns", range(1, 5))
def test_one_that_is_not_wanted_any_more_while_it_starts_ends(
    make_loop: Callable[[], asyncio.AbstractEventLoop], turns: int
) -> None:
    async def use() -> None:
        async with started(["timeit", "-n", "1", "import time; time.sleep(3600)"]):
            await asyncio.Event().wait()

    async def begin_and_cancel() -> None:
        using = asyncio.ensure_future(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using

    before = _children()
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(begin_and_cancel())
    assert _children() <= before
