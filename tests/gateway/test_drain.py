"""Drains without a clock: everybody once, at the pace, within the deadline."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.drain import Drain, Pacing
from tests.gateway import clients, virtual_time
from tests.gateway.bench import Bench, until


class Time:
    """Passes when slept."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Client:
    def __init__(self, time):
        self.time = time
        self.errors = []
        self.at = None

    def fail(self, error):
        self.errors.append(error)
        self.at = self.time.now


def drain(count, pacing, jitter=0.5):
    time = Time()
    clients = [Client(time) for _ in range(count)]
    reason = RuntimeError("drained")
    it = Drain(lambda: clients, lambda: reason, pacing, clock=lambda: time.now, sleep=time.sleep, jitter=lambda: jitter)
    return it, clients, time, reason


@given(
    st.integers(0, 60),
    st.floats(1, 1000),
    st.floats(0, 5),
    st.floats(0, 60),
    st.floats(0, 1),
)
def test_everybody_is_closed_once_in_order_after_the_grace_and_in_time(count, rate, grace, deadline, jitter):
    it, clients, time, reason = drain(count, Pacing(rate, grace, grace + deadline), jitter)
    begun = time.now
    asyncio.run(it.run())
    assert it.state == "done"
    assert (it.total, it.closed, it.left, it.eta_s) == (count, count, 0, 0.0)
    assert all(client.errors == [reason] for client in clients)
    times = [client.at for client in clients]
    assert times == sorted(times)
    if count:
        assert times[0] >= begun + grace
        assert times[-1] <= begun + grace + 1.5 * deadline + 1e-6


def test_without_haste_the_rate_is_kept():
    it, clients, _, _ = drain(11, Pacing(10, 0, 60))
    asyncio.run(it.run())
    assert round(clients[-1].at - clients[0].at, 6) == 1.0


def test_chance_spreads_the_closes_around_the_pace():
    for jitter, apart in ((0.0, 0.05), (1.0, 0.15)):
        it, _, time, _ = drain(3, Pacing(10, 0, 60), jitter)
        asyncio.run(it.run())
        assert [round(seconds, 6) for seconds in time.slept] == [0, apart, apart]


def test_a_short_deadline_raises_the_rate():
    it, clients, _, _ = drain(101, Pacing(1, 0, 2))
    asyncio.run(it.run())
    assert clients[-1].at - clients[0].at <= 2.0


def test_cancelling_leaves_the_rest_alone():
    async def run():
        it, clients, _, _ = drain(50, Pacing(10, 0, 60))
        task = asyncio.ensure_future(it.run())
        await until(lambda: it.closed >= 5)
        assert 0 < it.eta_s <= 5
        it.cancel()
        await task
        assert it.state == "cancelled"
        assert it.is_over
        assert sum(bool(client.errors) for client in clients) == it.closed < 50

    asyncio.run(run())


def test_a_drain_that_is_cancelled_during_its_grace_closes_nobody():
    async def run():
        it, clients, _, _ = drain(5, Pacing(10, 3, 60))
        task = asyncio.ensure_future(it.run())
        it.cancel()
        await task
        assert not any(client.errors for client in clients)

    asyncio.run(run())


async def test_a_drain_that_is_cancelled_waits_for_nothing_more():
    it = Drain(list, RuntimeError, Pacing(1.0, grace_s=3600.0))
    running = asyncio.create_task(it.run())
    await asyncio.sleep(0)
    it.cancel()
    await running
    await it.wait()
    assert it.state == "cancelled"
    stopped = Drain(list, RuntimeError, Pacing(1.0, grace_s=3600.0))
    running = asyncio.create_task(stopped.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    early = Drain(list, RuntimeError, Pacing(1.0, grace_s=3600.0))
    running = asyncio.create_task(early.run())
    early.cancel()
    await running


async def test_a_drain_gives_close_calls_more_of_the_budget_until_it_is_cancelled():
    async with Bench(relay={"calls": 64}) as bench:
        for _ in range(40):
            await bench.opened()
        gate, scheduler = asyncio.Event(), bench.gateway.budget.scheduler
        bench.ic.before_call = gate.wait
        bench.gateway.start_drain(Pacing(1.0, grace_s=3600.0))
        for shell in bench.shells:
            shell.lose()
        await until(lambda: scheduler.under_way + scheduler.waiting == 40)
        assert 20 < scheduler.under_way <= 32
        bench.gateway.cancel_drain()
        gate.set()
        await until(lambda: not bench.gateway.pending_close_calls)
        gate.clear()
        for _ in range(8):
            await bench.opened()
        for shell in bench.shells:
            shell.lose()
        await until(lambda: scheduler.under_way + scheduler.waiting == 8)
        assert scheduler.under_way <= 4
        gate.set()


async def test_a_stop_gives_close_calls_more_of_the_budget_too():
    async with Bench(relay={"calls": 64}) as bench:
        for _ in range(40):
            await bench.opened()
        gate, scheduler = asyncio.Event(), bench.gateway.budget.scheduler
        bench.ic.before_call = gate.wait
        bench.gateway.begin_stop()
        for shell in bench.shells:
            shell.lose()
        await until(lambda: scheduler.under_way + scheduler.waiting == 40)
        assert 20 < scheduler.under_way <= 32
        gate.set()


def test_a_drain_reports_everybody_within_its_deadline_although_each_call_takes_2_s():
    """With the part of the budget that close calls have otherwise, 60 of 200 would be reported."""

    async def drain() -> None:
        async with Bench(relay={"calls": 100}) as bench:
            loop = asyncio.get_running_loop()
            for _ in range(200):
                shell = bench.connect()
                shell.receive(clients.Client().open())
                bench.gateway.connections.add(shell.peer)
            while not all(shell.was_opened for shell in bench.shells):  # noqa: ASYNC110 - in virtual time
                await asyncio.sleep(0.1)
            bench.ic.before_call = lambda: asyncio.sleep(2)
            begun = loop.time()
            await bench.gateway.wind_down()
            await bench.gateway.stop()
            assert len(bench.canister.left) == 200
            assert loop.time() - begun <= bench.gateway.config.drain.deadline

    virtual_time.run(drain)
