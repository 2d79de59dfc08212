"""Which clients are closed for what they missed, and what a message costs, with real peers and sessions."""

import sys
import time
from types import FrameType

import appliance.gateway
from appliance.errors import CanisterSilent, MessagesLost
from appliance.gateway.polling.heartbeat import DEFAULT_NS
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER

DATA_PLANE = appliance.gateway.__path__[0]


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
        assert "has sent nothing for 180 s" in str(closed.error)
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


async def test_a_further_message_of_a_page_costs_few_calls_of_functions():
    """A page may cost what it likes; each message of it is paid for as often as there are clients."""
    async with Bench() as bench:
        clients = [(await bench.opened())[0] for _ in range(20)]
        poller = bench.gateway.pollers[CANISTER]

        async def calls(messages: int) -> int:
            for client in clients[:messages]:
                bench.canister.send(client.client_key, b"message")
            await poller.poll()  # what is made once for each client and canister is there now
            for client in clients[:messages]:
                bench.canister.send(client.client_key, b"message")
            called = 0

            def count(frame: FrameType, event: str, _arg: object) -> None:
                nonlocal called
                called += event == "call" and frame.f_code.co_filename.startswith(DATA_PLANE)

            sys.setprofile(count)
            try:
                await poller.poll()
            finally:
                sys.setprofile(None)
            return called

        one, all_of_them = await calls(1), await calls(len(clients))
        assert (all_of_them - one) / (len(clients) - 1) < 6
