"""Peers and gateway, machine to machine: no sockets, no clock, real messages."""

import asyncio

import pytest

from appliance.errors import (
    CanisterFull,
    CanisterNotServed,
    CanisterRefused,
    DuplicateClient,
    Rejected,
    ReplayedEnvelope,
    ReplyMalformed,
    SignatureInvalid,
    SlowClient,
    WrongCanister,
)
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, OTHER_CANISTER, Client
from tests.gateway.fake_ic import OK, err


async def test_a_session_from_greeting_to_farewell():
    async with Bench() as bench:
        client, shell = await bench.opened()
        bench.canister.on_message = lambda key, payload: bench.canister.send(key, payload) or OK
        for number in range(20):
            shell.receive(client.message(b"%d" % number))
        await until(lambda: len(shell.wire.written) == 22)
        assert [payload for _, payload in bench.canister.received] == [b"%d" % number for number in range(20)]
        shell.lose()
        await until(lambda: bench.canister.left)
        assert bench.canister.left == [client.client_key]
        counters = bench.gateway.counters
        assert (counters.joined, counters.opened, counters.relayed, counters.delivered) == (1, 1, 21, 21)
        await until(lambda: counters.farewells == 1)


async def test_order_is_kept_where_the_ic_delays_as_it_likes():
    async with Bench() as bench:
        clients = [await bench.opened() for _ in range(3)]
        spins = {0: 40, 1: 3, 2: 17}

        async def delay(request):
            for _ in range(spins[request.arg[-1] % 3]):
                await asyncio.sleep(0)

        bench.ic.before_submit = delay
        for number in range(12):
            for client, shell in clients:
                shell.receive(client.message(bytes([number])))
        await until(lambda: len(bench.canister.received) == 36)
        for client, _ in clients:
            mine = [payload[0] for key, payload in bench.canister.received if key == client.client_key]
            assert mine == list(range(12))


async def test_messages_sent_before_the_canister_answered_follow_the_opening():
    async with Bench() as bench:
        client, shell = Client(), bench.connect()
        shell.receive(client.open())
        shell.receive(client.message(b"early"))
        await until(lambda: bench.canister.received)
        assert [method for method, _ in bench.ic.log] == ["ws_open", "ws_message"]
        assert shell.error is None


async def test_nothing_is_registered_that_does_not_verify():
    async with Bench() as bench:
        shell = bench.connect()
        shell.receive(Client().open(break_signature=True))
        assert isinstance(shell.error, SignatureInvalid)
        assert len(bench.gateway.hub) == 0
        assert not bench.gateway.pollers
        shell.lose()
        await asyncio.sleep(0)
        assert not bench.ic.log


async def test_a_duplicate_is_refused_without_hurting_the_first():
    async with Bench() as bench:
        client, first = await bench.opened()
        second = bench.connect()
        second.receive(client.open())
        assert isinstance(second.error, DuplicateClient)
        second.lose()
        before = len(first.wire.written)
        bench.canister.send(client.client_key, b"still here")
        bench.wake_ups[0].tick()
        await until(lambda: len(first.wire.written) > before)
        assert first.error is None
        assert bench.canister.left == []


async def test_a_replayed_opening_is_refused():
    async with Bench() as bench:
        client, frame = Client(), None
        frame = client.open()
        first = bench.connect()
        first.receive(frame)
        await until(lambda: first.was_opened)
        first.lose()
        await until(lambda: bench.canister.left)
        await until(lambda: not bench.gateway.pending_close_calls)
        thief = bench.connect()
        thief.receive(frame)
        assert isinstance(thief.error, ReplayedEnvelope)
        assert len(bench.gateway.hub) == 0


async def test_only_listed_canisters_unless_the_operator_lets_all_in():
    async with Bench() as bench:
        shell = bench.connect()
        shell.receive(Client().open(canister=OTHER_CANISTER))
        assert isinstance(shell.error, CanisterNotServed)
        assert not bench.ic.log
    async with Bench(unlisted_canisters="allow") as bench:
        shell = bench.connect()
        shell.receive(Client().open(canister=OTHER_CANISTER))
        await until(lambda: shell.error)
        assert isinstance(shell.error, Rejected)


async def test_a_full_canister_takes_nobody_more():
    async with Bench(canisters=[{"id": str(CANISTER), "max_clients": 1}]) as bench:
        _, first = await bench.opened()
        second = bench.connect()
        second.receive(Client().open())
        assert isinstance(second.error, CanisterFull)
        assert first.error is None


@pytest.mark.parametrize("method", ["ws_open", "ws_message"])
async def test_a_close_reason_names_the_method_that_the_canister_refused(method):
    async with Bench() as bench:
        if method == "ws_open":
            bench.canister.on_open = lambda key: err("no")
            client, shell = Client(), bench.connect()
            shell.receive(client.open())
        else:
            client, shell = await bench.opened()
            bench.canister.on_message = lambda key, payload: err("no")
            shell.receive(client.message())
        while shell.error is None:
            for wake_up in bench.wake_ups:
                wake_up.tick()
            await asyncio.sleep(0)
        assert (shell.error.method, str(shell.error)) == (method, f"{method}: no")


async def test_last_words_of_the_canister_reach_a_client_that_it_refuses():
    async with Bench() as bench:

        def refuse(key, payload):
            bench.canister.send(key, b"close message")
            return err("Expected incoming sequence number 2 but got 7")

        client, shell = await bench.opened()
        bench.canister.on_message = refuse
        before = len(shell.wire.written)
        shell.receive(client.message())
        shell.receive(client.message(b"out of order now"))
        await until(lambda: shell.error)
        assert isinstance(shell.error, CanisterRefused)
        assert len(shell.wire.written) == before + 1
        assert len(bench.canister.received) == 1


async def test_last_words_are_not_waited_for_for_ever():
    async with Bench() as bench:
        client, shell = await bench.opened()
        bench.canister.on_message = lambda key, payload: err("no")
        shell.receive(client.message())
        while shell.error is None:
            bench.wake_ups[0].tick()
            await asyncio.sleep(0)
        assert isinstance(shell.error, CanisterRefused)


async def test_with_too_many_waiting_messages_a_client_is_not_read_for_a_while():
    async with Bench(relay={"queue": 2}) as bench:
        client, shell = await bench.opened()
        _, other = await bench.opened()
        gate = asyncio.Event()

        async def wait(request):
            await gate.wait()

        bench.ic.before_submit = wait
        for _ in range(2):
            shell.receive(client.message())
            assert shell.is_read
        shell.receive(client.message())
        assert not shell.is_read
        assert other.is_read
        gate.set()
        await until(lambda: len(bench.canister.received) == 3)
        assert shell.is_read
        assert shell.error is None


async def test_an_answer_that_does_not_decode_is_not_the_clients_fault():
    async with Bench() as bench:
        client, shell = await bench.opened()
        bench.canister.on_message = lambda key, payload: b"nonsense"
        shell.receive(client.message())
        await until(lambda: shell.error)
        assert isinstance(shell.error, ReplyMalformed)
        assert shell.error.close_code == 4101


async def test_a_slow_client_is_closed_alone_and_delays_nobody():
    async with Bench() as bench:
        slow, stuck = await bench.opened(outbox=2000)
        quick, other = await bench.opened()
        stuck.peer.outbox.pause()
        before = len(other.wire.written)
        for _ in range(30):
            bench.canister.send(slow.client_key, b"x" * 100)
            bench.canister.send(quick.client_key, b"x" * 100)
        while len(other.wire.written) < before + 30:
            bench.wake_ups[0].tick()
            await asyncio.sleep(0)
        assert isinstance(stuck.error, SlowClient)
        assert other.error is None
        await until(lambda: stuck.is_gone)
        assert slow.client_key not in bench.gateway.hub.members(CANISTER)
        delivered = stuck.peer.timeline.delivered + other.peer.timeline.delivered
        assert bench.gateway.counters.delivered == delivered
        assert bench.gateway.counters.undeliverable == 62 - delivered


async def test_a_message_for_another_canister_ends_the_session():
    async with Bench() as bench:
        client, shell = await bench.opened()
        shell.receive(client.message(canister=OTHER_CANISTER))
        assert isinstance(shell.error, WrongCanister)


async def test_polling_runs_while_somebody_is_there():
    async with Bench() as bench:
        _, one = await bench.opened()
        _, two = await bench.opened()
        one.lose()
        assert CANISTER in bench.gateway.pollers
        two.lose()
        assert not bench.gateway.pollers
        await until(lambda: len(bench.canister.left) == 2)
        await until(lambda: not len(bench.gateway.tasks))
        await bench.opened()
        assert bench.ic.nonces[bytes(CANISTER)][-1] >= 1  # from the last message on that was taken


async def test_a_reinstalled_canister_sends_its_old_clients_away_and_serves_new_ones():
    async with Bench() as bench:
        _, old = await bench.opened()
        bench.canister.install()
        newcomer, shell = Client(), bench.connect()
        shell.receive(newcomer.open())
        while not shell.was_opened:
            bench.wake_ups[0].tick()
            await asyncio.sleep(0)
        assert type(old.error).__name__ == "CanisterForgot"
        assert shell.error is None
        assert bench.gateway.counters.resets == 1


async def test_in_report_mode_doubts_are_counted():
    async with Bench(verification={"envelopes": "report"}) as bench:
        client, shell = Client(), bench.connect()
        shell.receive(client.open(break_signature=True))
        await until(lambda: shell.was_opened)
        assert bench.gateway.counters.unverified == {"signature": 1}
