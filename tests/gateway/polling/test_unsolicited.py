"""How long messages take that a canister sends while nothing else happens, in virtual time."""

import asyncio
from statistics import median

from appliance.gateway.polling.schedule import LoopWakeUp
from tests.gateway.bench import Bench
from tests.gateway.clients import Client
from tests.gateway.virtual_time import run

ROUND_TRIP_S = 0.02


class PollingBench(Bench):
    """A gateway with the defaults, whose pollers wait as long as they mean to, so far away from the IC."""

    def _wake_up(self) -> LoopWakeUp:
        return LoopWakeUp()

    async def before_query(self) -> None:
        await asyncio.sleep(ROUND_TRIP_S)


def test_a_message_every_3_seconds_takes_less_than_100_ms():
    waits = []

    async def work() -> None:
        async with PollingBench() as bench:
            bench.ic.before_query = bench.before_query
            client, shell, loop = Client(), bench.connect(), asyncio.get_running_loop()
            shell.receive(client.open())
            await asyncio.sleep(3)
            assert shell.was_opened
            for number in range(40):
                await asyncio.sleep(3 + number / 1000)  # at every place between two polls
                sent_at, written = loop.time(), len(shell.wire.written)
                bench.canister.send(client.client_key, b"news")
                while len(shell.wire.written) == written:  # noqa: ASYNC110 - a wire has no bell
                    await asyncio.sleep(0.001)
                waits.append(loop.time() - sent_at)

    run(work)
    assert median(waits) < 0.1
    assert max(waits) < 0.1 + 2 * ROUND_TRIP_S
