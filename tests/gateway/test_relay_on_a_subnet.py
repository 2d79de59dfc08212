"""Messages of clients to a canister as far away as on the mainnet: calls of more than a second, thirteen replicas."""

import asyncio
from random import Random

import pytest

from appliance.errors import OrderLost
from tests.gateway.bench import Bench, Shell
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client
from tests.gateway.fake_subnet import FakeSubnet, OrderedCanister
from tests.gateway.virtual_time import run

SEEDS = range(20)
CROWD = 600
"""Clients of the slow canister, who fill a budget of as many calls."""


class SubnetBench(Bench):
    """A gateway in front of such a subnet, with two canisters."""

    def __init__(self, seed: int, **config: object) -> None:
        # Rate limits go by the clock of the machine, and minutes pass in a second here.
        limits = {"messages_per_client": {"mode": "off"}}
        canisters = [{"id": str(CANISTER)}, {"id": str(OTHER_CANISTER)}]
        super().__init__(canisters=canisters, rate_limits=limits, **config)
        self.canister = OrderedCanister(CANISTER, GATEWAY)
        self.other = OrderedCanister(OTHER_CANISTER, GATEWAY)
        self.subnet = FakeSubnet(Random(seed), self.canister, self.other)
        self.gateway._ic = self.subnet
        self.gateway.pollers._source = self.subnet
        self.sent: dict[tuple[bytes, bytes], float] = {}

    async def connect_client(self, canister=CANISTER) -> tuple[Client, Shell]:
        client, shell = Client(), self.connect()
        shell.receive(client.open(canister=canister))
        while not shell.was_opened:
            assert shell.error is None
            await asyncio.sleep(0.1)
        return client, shell

    def send(self, client: Client, shell: Shell, number: int, canister=CANISTER) -> None:
        payload = b"%d" % number
        self.sent[client.principal, payload] = asyncio.get_running_loop().time()
        shell.receive(client.message(payload, canister=canister))

    async def all_answered(self, shell: Shell) -> None:
        await shell.peer.relays.settled()

    def round_trips(self, client: Client) -> list[float]:
        return [
            self.subnet.answered[sent] - at
            for sent, at in self.sent.items()
            if sent[0] == client.principal and sent in self.subnet.answered
        ]


async def steady(bench: SubnetBench, seconds: int = 60, each_second: int = 4) -> tuple[Client, Shell]:
    client, shell = await bench.connect_client()
    for number in range(seconds * each_second):
        bench.send(client, shell, number)
        await asyncio.sleep(1 / each_second)
    await bench.all_answered(shell)
    return client, shell


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
            client, shell = await bench.connect_client()
            for number in range(20):
                bench.send(client, shell, number)
            await bench.all_answered(shell)
            assert shell.error is None
            assert bench.canister.expected[client.client_key] == 20
            assert max(bench.round_trips(client)) < 6

    run(work)


@pytest.mark.parametrize("config", [{"relay": {"order": "strict"}}, {"relay": {"window": 1}}])
def test_strict_loses_nothing_and_is_slow(config):
    async def work() -> None:
        async with SubnetBench(1, **config) as bench:
            client, shell = await bench.connect_client()
            for number in range(20):
                bench.send(client, shell, number)
            await bench.all_answered(shell)
            assert shell.error is None
            assert bench.canister.expected[client.client_key] == 20
            assert max(bench.round_trips(client)) > 19

    run(work)


def test_where_no_endpoint_confirms_acceptance_calls_go_one_after_the_other():
    async def work() -> None:
        async with SubnetBench(1) as bench:
            bench.subnet.serves_v2 = False
            client, shell = await bench.connect_client()
            for number in range(20):
                bench.send(client, shell, number)
            await bench.all_answered(shell)
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


async def trickle(bench: SubnetBench, messages: int = 60) -> list[float]:
    """Round trips of a client that sends one message a second to the other canister."""
    client, shell = await bench.connect_client(OTHER_CANISTER)
    for number in range(messages):
        bench.send(client, shell, number, OTHER_CANISTER)
        await asyncio.sleep(1)
    await bench.all_answered(shell)
    assert shell.error is None
    trips = bench.round_trips(client)
    assert len(trips) == messages
    return trips


def test_a_canister_of_slow_calls_does_not_slow_down_another():
    calm, busy = [], []

    async def alone() -> None:
        async with SubnetBench(1) as bench:
            calm.extend(await trickle(bench))

    async def beside() -> None:
        async with SubnetBench(1, relay={"calls": CROWD}) as bench:
            clients = [await bench.connect_client() for _ in range(5)]
            clients += await asyncio.gather(*(bench.connect_client() for _ in range(CROWD - 5)))
            bench.subnet.call_s[bytes(CANISTER)] = 10.0
            for client, shell in clients:
                for number in range(6):
                    bench.send(client, shell, number)
            busy.extend(await trickle(bench))
            assert bench.gateway.budget.scheduler.waiting > CROWD / 5, "the canister did not fill the budget"
            bench.subnet.call_s.clear()

    run(alone)
    run(beside)
    assert max(busy) < 2 * max(calm)
