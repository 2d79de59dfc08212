"""Messages of clients to a canister as far away as on the mainnet: calls of more than a second, thirteen replicas."""

import asyncio

import pytest

from appliance.errors import OrderLost
from tests.gateway.subnet_bench import CROWD, SubnetBench, burst, steady, trickle, trickle_beside_a_crowd
from tests.gateway.virtual_time import run

SEEDS = range(20)


@pytest.mark.parametrize("seeds", [SEEDS])
def test_four_messages_a_second_are_answered_as_fast_as_they_come(seeds):
    lost = []
    for seed in seeds:

        async def work(seed: int = seed) -> None:
            async with SubnetBench(seed) as bench:
                client, shell = await steady(bench)
                if isinstance(shell.error, OrderLost):
                    lost.append(seed)
                    return
                assert shell.error is None
                assert [int(payload) for _, payload in bench.canister.received] == list(range(240))
                assert max(bench.round_trips(client)[-20:]) < 3

        run(work)
    assert len(lost) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_of_twenty_takes_a_few_seconds(seed):
    async def work() -> None:
        async with SubnetBench(seed) as bench:
            client, shell = await burst(bench)
            assert shell.error is None
            assert bench.canister.expected[client.client_key] == 20
            assert max(bench.round_trips(client)) < 6

    run(work)


@pytest.mark.parametrize("seed", range(3))
def test_replicas_that_are_blocks_behind_do_not_hold_up_the_messages_behind(seed):
    async def work() -> None:
        async with SubnetBench(seed) as bench:
            bench.subnet.lag_s = (0.0, 2.0)
            client, shell = await steady(bench)
            assert shell.error is None
            assert max(bench.round_trips(client)) < 5

    run(work)


@pytest.mark.parametrize("config", [{"relay": {"order": "strict"}}, {"relay": {"window": 1}}])
@pytest.mark.parametrize("seed", SEEDS)
def test_strict_loses_nothing_and_is_slow(config, seed):
    async def work() -> None:
        async with SubnetBench(seed, **config) as bench:
            client, shell = await burst(bench)
            assert shell.error is None
            assert bench.canister.expected[client.client_key] == 20
            assert max(bench.round_trips(client)) > 19

    run(work)


def test_where_no_endpoint_confirms_acceptance_calls_go_one_after_the_other():
    async def work() -> None:
        async with SubnetBench(1) as bench:
            bench.subnet.serves_v2 = False
            client, shell = await burst(bench)
            assert shell.error is None
            assert bench.canister.expected[client.client_key] == 20
            assert max(bench.round_trips(client)) > 19

    run(work)


def test_a_lost_order_closes_the_client_with_the_reason_and_slows_the_canister_down():
    async def work() -> None:
        async with SubnetBench(1) as bench:
            client, shell = await bench.connect_client()
            bench.canister.expected[client.client_key] = 1  # as if message 1 had overtaken message 0
            for number in range(5):
                bench.send(client, shell, number)
            while shell.error is None:
                for wake_up in bench.wake_ups:
                    wake_up.tick()
                await asyncio.sleep(0.1)
            assert isinstance(shell.error, OrderLost)
            assert bench.gateway.paces.orders_lost == 1
            client, shell = await bench.connect_client()
            for number in range(3):
                bench.send(client, shell, number)
            await asyncio.sleep(0.9)
            assert len(shell.peer.relays) == 2

    run(work)


def test_a_thousand_clients_are_served_as_fast_as_calls_take():
    async def work() -> None:
        async with SubnetBench(1) as bench:
            clients = await asyncio.gather(*(bench.connect_client() for _ in range(1000)))
            for client, shell in clients:
                bench.send(client, shell, 0)
            await asyncio.sleep(0.1)
            assert bench.gateway.budget.scheduler.waiting == 0
            for _, shell in clients:
                await bench.all_answered(shell)
            assert all(max(bench.round_trips(client)) < 3 for client, _ in clients)

    run(work)


def test_a_canister_of_slow_calls_does_not_slow_down_another():
    calm, busy = [], []

    async def alone() -> None:
        async with SubnetBench(1) as bench:
            calm.extend(await trickle(bench))

    async def beside() -> None:
        async with SubnetBench(1, relay={"calls": CROWD}) as bench:
            busy.extend(await trickle_beside_a_crowd(bench))

    run(alone)
    run(beside)
    assert max(busy) < 2 * max(calm)
