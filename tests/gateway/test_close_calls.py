"""The close calls of clients that are gone: for whom, when, how many at once, and what frees a key."""

import asyncio

import pytest

from appliance.errors import (
    CallExpired,
    CanisterForgot,
    CanisterRefused,
    CertifiedReject,
    ClientLeaving,
    GatewayStopping,
    UncertifiedReject,
)
from appliance.gateway.calls.scheduler import KEPT
from tests.gateway.bench import Bench, until
from tests.gateway.clients import GATEWAY, Client
from tests.gateway.fake_ic import err, nothing


async def test_a_canister_that_refuses_the_opening_is_quoted_and_not_told_of_the_leaving():
    async with Bench() as bench:
        bench.canister.on_open = lambda key: err("Anonymous principal is not allowed")
        shell = bench.connect()
        shell.receive(Client().open())
        await until(lambda: shell.error)
        assert isinstance(shell.error, CanisterRefused)
        assert str(shell.error) == "ws_open: Anonymous principal is not allowed"
        await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
        assert bench.canister.left == []


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (CallExpired("ws_open", "time-out"), True),
        (UncertifiedReject(2, "try later"), True),
        (CertifiedReject(5, "trapped"), False),
    ],
)
async def test_the_canister_is_told_whenever_the_opening_may_have_reached_it(error, is_told):
    async with Bench() as bench:

        async def fail(request):
            raise error

        bench.ic.before_submit = fail
        client, shell = Client(), bench.connect()
        shell.receive(client.open())
        await until(lambda: shell.error)
        assert shell.error is error
        await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
        assert bench.canister.left == ([client.client_key] if is_told else [])


async def test_the_farewell_comes_after_everything_that_was_sent():
    async with Bench() as bench:
        client, shell = await bench.opened()
        gate = asyncio.Event()

        async def wait(request):
            await gate.wait()

        bench.ic.before_submit = wait
        shell.receive(client.message(b"one"))
        shell.receive(client.message(b"two"))
        shell.lose()
        for _ in range(50):
            await asyncio.sleep(0)
        assert bench.canister.left == []
        assert bench.gateway.pending_close_calls == 1
        again = bench.connect()
        again.receive(client.open())
        assert isinstance(again.error, ClientLeaving)
        gate.set()
        await until(lambda: bench.canister.left)
        assert [payload for _, payload in bench.canister.received] == [b"one", b"two"]


async def test_a_failed_farewell_is_counted_and_that_is_all():
    async with Bench() as bench:

        async def expire():
            raise CallExpired("ws_close", "no answer")

        bench.ic.before_call = expire
        _, shell = await bench.opened()
        shell.lose()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert bench.gateway.counters.failed_farewells == {"call_expired": 1}
        assert bench.gateway.counters.farewells == 0


async def test_stopping_lets_nobody_in_and_says_farewell_for_all():
    async with Bench() as bench:
        clients = [await bench.opened() for _ in range(5)]
        bench.gateway.begin_stop()
        late = bench.connect()
        late.receive(Client().open())
        assert isinstance(late.error, GatewayStopping)
        for _, shell in clients:
            shell.lose()
        await bench.gateway.stop()
        assert sorted(bench.canister.left) == sorted(client.client_key for client, _ in clients)


async def test_stopping_does_not_wait_for_an_ic_that_is_gone():
    async with Bench(drain={"deadline": "1ms"}) as bench:
        _, shell = await bench.opened()

        async def never():
            await asyncio.get_running_loop().create_future()

        bench.ic.before_call = never
        shell.lose()
        await bench.gateway.stop()
        assert bench.canister.left == []


async def test_close_calls_wait_for_each_other_beyond_their_part_of_the_budget():
    part = 2
    async with Bench(relay={"calls": part * KEPT}) as bench:
        under_way, most, gate = 0, 0, asyncio.Event()

        async def count():
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await gate.wait()
            under_way -= 1

        shells = [(await bench.opened())[1] for _ in range(part + 3)]
        bench.ic.before_call = count
        for shell in shells:
            shell.lose()
        await until(lambda: under_way == part)
        assert bench.gateway.pending_close_calls == part + 3
        gate.set()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert most == part
        assert len(bench.canister.left) == part + 3


@pytest.mark.parametrize("fails", [False, True])
async def test_a_key_is_free_as_soon_as_its_close_call_is_done_however_it_ends(fails):
    async with Bench() as bench:
        gate = asyncio.Event()

        async def wait():
            await gate.wait()
            if fails:
                raise CallExpired("ws_close", "no answer")

        client, shell = await bench.opened()
        bench.ic.before_call = wait
        shell.lose()
        early = bench.connect()
        early.receive(client.open())
        assert isinstance(early.error, ClientLeaving)
        gate.set()
        await until(lambda: not bench.gateway.pending_close_calls)
        late = bench.connect()
        late.receive(client.open())
        assert late.error is None
        await until(lambda: late.was_opened or late.error)


@pytest.mark.parametrize(
    ("refusal", "failed"),
    [(CanisterRefused("ws_close", "unknown client"), {}), (CertifiedReject(5, "stopped", "IC0508"), {"rejected": 3})],
)
async def test_a_canister_that_rejects_ws_close_does_not_delay_the_stop(refusal, failed):
    """A stop that waited would wait for an hour."""
    async with Bench(drain={"deadline": "1h"}) as bench:

        async def reject():
            raise refusal

        bench.ic.before_call = reject
        shells = [(await bench.opened())[1] for _ in range(3)]
        for shell in shells:
            shell.lose()
        await bench.gateway.stop()
        assert bench.gateway.pending_close_calls == 0
        assert bench.gateway.counters.failed_farewells == failed


async def test_a_canister_that_does_not_know_the_gateway_any_more_has_forgotten_everybody():
    async with Bench() as bench:
        clients = [await bench.opened() for _ in range(3)]
        (talker, refused), *listeners = clients
        bench.canister.install()
        bench.canister.on_close = lambda key: err(f"Gateway with principal {GATEWAY} is not registered")
        refused.receive(talker.message())
        await until(lambda: all(shell.is_gone for _, shell in clients))
        assert isinstance(refused.error, CanisterRefused)
        assert all(isinstance(shell.error, CanisterForgot) for _, shell in listeners)
        await until(lambda: not bench.gateway.pending_close_calls)
        assert bench.canister.left == [talker.client_key], "it has said so, for all of them"


async def test_whom_a_canister_has_forgotten_gets_no_close_call():
    """It would end the new session of the same principal, where a canister keeps one of each (v1)."""
    async with Bench() as bench:
        old = [await bench.opened() for _ in range(3)]
        bench.canister.install()
        (client, _), newcomer = old[0], bench.connect()
        newcomer.receive(Client(key=client.key).open())
        await until(lambda: bench.wake_ups[0].tick() or newcomer.was_opened)
        await until(lambda: all(shell.is_gone for _, shell in old) and not bench.gateway.pending_close_calls)
        assert all(isinstance(shell.error, CanisterForgot) for _, shell in old)
        assert bench.canister.left == []
        assert newcomer.error is None


async def test_a_client_that_opened_while_another_was_refused_stays():
    async with Bench() as bench:
        talker, refused = await bench.opened()
        bench.canister.install()
        newcomers = []

        async def opens_meanwhile():
            newcomers.append(await bench.opened())

        bench.ic.before_call = opens_meanwhile
        bench.canister.on_close = lambda key: err(f"Gateway with principal {GATEWAY} is not registered")
        refused.receive(talker.message())
        await until(lambda: refused.is_gone and not bench.gateway.pending_close_calls)
        ((_, newcomer),) = newcomers
        assert newcomer.error is None
        bench.ic.before_call = nothing
