"""Which clients are closed for what they missed, with real peers and sessions."""

import time

from appliance.errors import CanisterSilent, MessagesLost
from appliance.gateway.polling.heartbeat import DEFAULT_NS
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER


async def test_a_client_whose_next_number_shows_that_one_is_lost_is_closed_and_gets_nothing_more():
    async with Bench() as bench:
        client, shell = await bench.opened()
        other, bystander = await bench.opened()
        poller = bench.gateway.pollers[CANISTER]
        written = len(shell.wire.written)
        bench.canister.clients[client.client_key] += 1  # the canister counted a message that is not in the queue
        bench.canister.send(client.client_key, b"third")
        bench.canister.send(client.client_key, b"fourth")
        bench.canister.send(other.client_key, b"second")
        await poller.poll()
        assert isinstance(shell.error, MessagesLost)
        assert len(shell.wire.written) == written
        assert bystander.error is None


async def test_a_number_that_was_delivered_is_not_delivered_again():
    async with Bench() as bench:
        client, shell = await bench.opened()
        poller = bench.gateway.pollers[CANISTER]
        bench.canister.send(client.client_key, b"second")
        bench.canister.clients[client.client_key] -= 1
        written = len(shell.wire.written)
        bench.canister.send(client.client_key, b"second again")
        await poller.poll()
        assert len(shell.wire.written) == written + 1
        assert shell.error is None


async def test_a_listener_that_the_canister_forgot_is_closed_within_two_intervals():
    interval_ns = DEFAULT_NS // 5
    now_ns = time.time_ns()
    async with Bench() as bench:
        bench.gateway.pollers._clock = lambda: now_ns
        (forgotten, closed), (_, shell) = await bench.opened(), await bench.opened()
        poller = bench.gateway.pollers[CANISTER]
        for rounds in range(6):
            now_ns += interval_ns
            bench.canister.acknowledge(now_ns)
            await poller.poll()
            if rounds == 2:
                del bench.canister.by_principal[forgotten.principal]
            if rounds < 5:
                assert closed.error is None
        await until(lambda: closed.is_gone)
        assert isinstance(closed.error, CanisterSilent)
        assert "no acknowledgement for 180 s" in str(closed.error)
        assert shell.error is None


async def test_acknowledgements_that_stay_away_while_polls_fail_close_nobody():
    now_ns = time.time_ns()
    async with Bench() as bench:
        bench.gateway.pollers._clock = lambda: now_ns
        _, shell = await bench.opened()
        poller = bench.gateway.pollers[CANISTER]
        bench.ic.spoil = lambda reply: b"nonsense"
        for _ in range(5):
            now_ns += DEFAULT_NS
            await poller.poll()
        bench.ic.spoil = lambda reply: reply
        await poller.poll()
        assert shell.error is None
