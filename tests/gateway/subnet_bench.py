"""A gateway in front of a subnet as far away as the mainnet, in virtual time, and what its clients send."""

import asyncio
from random import Random

from tests.gateway.bench import Bench, Shell
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client
from tests.gateway.fake_subnet import FakeSubnet, OrderedCanister

CROWD = 600
"""Clients of a canister with slow calls, who fill a budget of as many."""
CROWD_MESSAGES = 6
SLOW_CALL_S = 10.0


class SubnetBench(Bench):
    """A gateway in front of such a subnet, with two canisters."""

    def __init__(self, seed: int, **config: object) -> None:
        # Rate limits go by the clock of the machine, and minutes pass in a second here.
        limits = {"messages_per_client": {"mode": "off"}}
        canisters = [{"id": str(CANISTER)}, {"id": str(OTHER_CANISTER)}]
        canister, self.other = OrderedCanister(CANISTER, GATEWAY), OrderedCanister(OTHER_CANISTER, GATEWAY)
        self.subnet = FakeSubnet(Random(seed), canister, self.other)
        super().__init__(ic=self.subnet, canisters=canisters, rate_limits=limits, **config)
        self.canister = canister
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
        """Seconds from a message to the canister's certified answer, in the order in which they were sent."""
        return [
            self.subnet.answered[sent] - at
            for sent, at in self.sent.items()
            if sent[0] == client.principal and sent in self.subnet.answered
        ]


async def steady(bench: SubnetBench, seconds: int = 60, each_second: int = 4) -> tuple[Client, Shell]:
    """A client that sends so many messages a second, until all are answered."""
    client, shell = await bench.connect_client()
    for number in range(seconds * each_second):
        bench.send(client, shell, number)
        await asyncio.sleep(1 / each_second)
    await bench.all_answered(shell)
    return client, shell


async def burst(bench: SubnetBench, messages: int = 20) -> tuple[Client, Shell]:
    """A client that sends so many messages at once, until all are answered."""
    client, shell = await bench.connect_client()
    for number in range(messages):
        bench.send(client, shell, number)
    await bench.all_answered(shell)
    return client, shell


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


async def trickle_beside_a_crowd(bench: SubnetBench) -> list[float]:
    """The same beside a crowd that fills the budget of calls with slow ones of the first canister."""
    clients = [await bench.connect_client() for _ in range(5)]
    clients += await asyncio.gather(*(bench.connect_client() for _ in range(CROWD - 5)))
    bench.subnet.call_s[bytes(CANISTER)] = SLOW_CALL_S
    for client, shell in clients:
        for number in range(CROWD_MESSAGES):
            bench.send(client, shell, number)
    trips = await trickle(bench)
    assert bench.gateway.budget.scheduler.waiting > CROWD / 5, "the canister did not fill the budget"
    bench.subnet.call_s.clear()
    return trips
