"""Two workers and hostile load: what one process bears, several that are one gateway bear too."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.processes import icws
from tests.gateway.players import playing
from tests.supervisor.workplace import PATIENCE_S, Workplace, house, stopped, working

pytestmark = pytest.mark.timeout(PATIENCE_S + 120)


async def at_each_worker(place: Workplace, stack: AsyncExitStack, generation: str) -> None:
    """A client of this generation at either worker, whose session is open."""
    workers = (await place.workers()).items
    for number, _ in enumerate(workers):
        other = workers[1 - number]
        with stopped(other.pid):
            await stack.enter_async_context(playing(place.network(generation)))


@pytest.mark.parametrize("after", [1, 2])
async def test_when_all_are_killed_at_once_the_next_start_tells_of_the_clients_of_each(
    tmp_path: Path, after: int
) -> None:
    async with house(tmp_path) as at:
        async with working(at) as place, AsyncExitStack() as stack:
            for generation in ("v0", "v2"):
                await at_each_worker(place, stack, generation)
            pids = [each.pid for each in (await place.workers()).items]
            for pid in (place.process.pid, *pids):
                os.kill(pid or 0, signal.SIGKILL)
            await place.process.wait()
        assert [canister.came.total() for canister in at.canisters.values()] == [2, 2]
        assert not any(canister.left for canister in at.canisters.values())
        if after == 1:  # a process that is alone is no node
            text = at.file.read_text().replace(", workers: 2", "").replace("cluster: {claim_timeout: 2s}\n", "")
            at.file.write_text(text)
        async with working(at) if after > 1 else icws("run", "--config", str(at.file)):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(canister.is_left.wait() for canister in at.canisters.values()))
        assert all(canister.left == canister.came for canister in at.canisters.values()), "and nobody twice"
