"""Two workers as real processes are one gateway: copies of openings, clients that move, workers that end."""

import asyncio
import os
import signal
import socket
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from appliance.cluster.contact import SETTLE_S
from appliance.control.models import Workers
from appliance.crypto import SigningKey
from appliance.errors import OpeningClaimed, OpeningOutdated
from appliance.worker.balance import MOST, SLACK
from appliance.worker.lifeline import FEW
from tests.cluster.houses import Thief, keeping
from tests.gateway.players import Player, player, playing
from tests.supervisor.workplace import PATIENCE_S, Workplace, house, stopped, working

pytestmark = pytest.mark.timeout(PATIENCE_S + 120)
QUEUED = 100
HELD = 60
RESTARTS = int(os.environ.get("ICWS_WORKER_RESTARTS", "1"))
"""``make soak`` takes 3."""


async def says(client: Player, text: str = "hello") -> None:
    """The session of this client works, both ways."""
    await client.say(text)
    assert await client.hear() == f"{text} ping"


async def test_a_copy_of_an_opening_opens_nothing_at_the_other_worker(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        async with working(at) as place:
            first, second = (await place.workers()).items
            async with AsyncExitStack() as stack:
                with stopped(second.pid):  # so the first one has the victim, and the second one the thief
                    victim = await stack.enter_async_context(player(place.network("v2")))
                    sent = keeping(victim)
                    await victim.open()
                    assert await victim.hear() == "ping"
                thief = Thief()
                with stopped(first.pid):
                    await thief.replay(place.network("v2"), sent[0])
                assert (thief.received, thief.code) == ([], OpeningClaimed.close_code)
                assert await place.metric('icws_cluster_claims_total{worker="2",result="used"}') == 1
                await says(victim)
                await _a_copy_while_the_engine_is_away(place, stack)
                await says(victim)
                assert not at.canisters["v2"].left
            place.process.kill()
            await place.process.wait()
        async with working(at) as place:
            thief = Thief()
            await thief.replay(place.network("v2"), sent[0])
            assert thief.received == []
            assert 4500 <= (thief.code or 0) < 5000


async def _a_copy_while_the_engine_is_away(place: Workplace, stack: AsyncExitStack) -> None:
    """The supervisor stands still: messages flow, and the times that the IC certifies tell what is a copy."""
    first, second = (await place.workers()).items
    with stopped(place.process.pid):
        await _without_engine(place)
        with stopped(second.pid):
            victim = await stack.enter_async_context(player(place.network("v2")))
            sent = keeping(victim)
            await victim.open()
            assert await victim.hear() == "ping"
        await place.house.net.fast_forward(5)  # the thief needs some seconds
        thief = Thief()
        with stopped(first.pid):
            await thief.replay(place.network("v2"), sent[0])
        assert (thief.received, thief.code) == ([], OpeningOutdated.close_code)
        await says(victim)


async def _without_engine(place: Workplace) -> None:
    """Both workers know that they have none."""
    for log in ("worker=1", "worker=2"):
        async with asyncio.timeout(PATIENCE_S):
            while not any("goes on without its cluster" in line and log in line for line in place.log):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def come(url: str) -> int | None:
    """The status of one upgrade; None for a connection that is reset."""
    with suppress(OSError):
        async with connect(url, open_timeout=PATIENCE_S, ping_interval=None) as client:
            return client.response.status_code if client.response else None
    return None


async def test_restarts_one_by_one_reset_nobody_and_newcomers_are_spread(tmp_path: Path) -> None:
    async with house(tmp_path, "drain: {rate: 1000/s}\n") as at, working(at) as place, AsyncExitStack() as held:
        url = f"{place.url}/v2"
        for _ in range(RESTARTS):
            for _ in range(HELD):
                await held.enter_async_context(connect(url, ping_interval=None))
            first, second = (await place.workers()).items
            with stopped(first.pid), stopped(second.pid):
                queued = [_connected(place.url) for _ in range(QUEUED)]
            coming = [asyncio.ensure_future(come(url)) for _ in range(QUEUED)]
            await _restart(place)
            assert Counter(await asyncio.gather(*coming)) == {101: QUEUED}
            assert all(map(_answered, queued)), "a connection that waited was reset"
            assert {first.pid, second.pid}.isdisjoint({each.pid for each in (await place.workers()).items})
        for _ in range(HELD):
            await held.enter_async_context(connect(url, ping_interval=None))
        found = await place.until(lambda found: sum(each.connections for each in found.items) >= HELD)
        counts = [each.connections for each in found.items]
        mean = sum(counts) / 2
        assert max(counts) <= max(MOST * mean, mean + SLACK) + FEW, counts
        place.process.send_signal(signal.SIGTERM)
        assert await place.process.wait() == 0
        assert not any("Traceback" in line for line in place.log)


def _connected(url: str) -> socket.socket:
    """A connection that nobody has accepted yet, and that has sent its request."""
    host, port = url.removeprefix("ws://").split(":")
    one = socket.create_connection((host, int(port)))
    one.sendall(b"GET /v2 HTTP/1.0\r\n\r\n")
    return one


def _answered(one: socket.socket) -> bool:
    with one:
        one.settimeout(PATIENCE_S)
        try:
            return one.recv(12).startswith(b"HTTP/1.1")
        except OSError:
            return False


async def _restart(place: Workplace) -> None:
    await place.ask(place.api.post, Workers, "/v1/workers/restart")
    found = await place.until(lambda found: not found.restarting)
    assert found.problem is None
    assert all(each.state == "ready" for each in found.items)


async def test_a_worker_that_is_killed_is_started_again_and_its_clients_are_told(tmp_path: Path) -> None:
    async with house(tmp_path) as at, working(at) as place, AsyncExitStack() as stack:
        first, second = (await place.workers()).items
        with stopped(second.pid):
            await stack.enter_async_context(playing(place.network("v2")))
        with stopped(first.pid):
            other = await stack.enter_async_context(playing(place.network("v2")))
        os.kill(first.pid or 0, signal.SIGKILL)
        await place.until(lambda found: found.items[0].starts == 2 and found.items[0].state == "ready")
        async with asyncio.timeout(PATIENCE_S):
            while not at.canisters["v2"].left:  # noqa: ASYNC110 - another process makes the call
                await asyncio.sleep(0.05)
        assert at.canisters["v2"].left.total() == 1
        await says(other)
        assert (await place.worker(2)).pid == second.pid
        await _a_client_of_v0_moves(place, stack)
        # Where nobody supervises them any more, workers end, and say so to their clients and canisters.
        pids = [each.pid for each in (await place.workers()).items]
        place.process.kill()
        assert (await other.closed())[0] == 1012
        async with asyncio.timeout(PATIENCE_S):
            while any(map(_lives, pids)):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)
        assert at.canisters["v2"].left == at.canisters["v2"].came


def _lives(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_key_of_v0_that_moved_outlives_the_earlier_session_without_the_engine_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at, working(at) as place, AsyncExitStack() as stack:
        first, second = (await place.workers()).items
        network, key = place.network("v0"), SigningKey.generate("ed25519")
        with stopped(second.pid):
            before = await stack.enter_async_context(playing(network, key=key))
        with stopped(place.process.pid):
            await _without_engine(place)
            with stopped(first.pid):
                after = await stack.enter_async_context(playing(network, key=key))
            await before.socket.close()
            await says(after)
        # The first worker tells nobody before it may believe the engine, and then that the place is not its own.
        await _has_told(place, 1)
        await says(after)
        with stopped(second.pid):
            last = await stack.enter_async_context(playing(network, key=key))
        # The next process of the second worker finds its client in the journal.
        os.kill(second.pid or 0, signal.SIGKILL)
        await place.until(lambda found: found.items[1].starts == 2 and found.items[1].state == "ready")
        await _has_told(place, 2)
        await says(last)
        assert not at.canisters["v0"].left


async def _has_told(place: Workplace, worker: int) -> None:
    """A worker has no close calls left to make."""
    calls = f'icws_late_close_calls{{worker="{worker}"}}'
    async with asyncio.timeout(PATIENCE_S):
        while (await place.status()).departing or await place.metric(calls):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


async def _a_client_of_v0_moves(place: Workplace, stack: AsyncExitStack) -> None:
    """The end of its session at the worker before does not end the one that it has by then."""
    first, second = (await place.workers()).items
    key = SigningKey.generate("ed25519")
    with stopped(second.pid):
        before = await stack.enter_async_context(playing(place.network("v0"), key=key))
    with stopped(first.pid):
        after = await stack.enter_async_context(playing(place.network("v0"), key=key))
    # By then the engine is believed, so that what follows is no lack of an answer.
    assert first.started_at is not None
    await asyncio.sleep(max(0.0, SETTLE_S + 1 - (datetime.now(UTC) - first.started_at).total_seconds()))
    await before.socket.close()
    await place.until(lambda found: found.items[0].connections == 0)
    async with asyncio.timeout(PATIENCE_S):
        while (await place.status()).departing:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
    assert not place.house.canisters["v0"].left
    await says(after)
