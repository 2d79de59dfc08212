import asyncio
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.state.clock import ManualClock, SystemClock, finishes_within, sleep

HOUR = 3600 * 10**9


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 20)))
def test_alarms_ring_in_order_when_their_time_has_come(times: list[int], steps: list[int]) -> None:
    clock = ManualClock(0)
    rung: list[int] = []
    for due in times:
        clock.call_at(due, partial(rung.append, due))
    for step in steps:
        clock.advance(step)
        assert sorted(rung) == sorted(due for due in times if due <= clock.now_ns())
    waited = [due for due in rung if due > 0]
    assert waited == sorted(waited)


def test_a_cancelled_alarm_does_not_ring() -> None:
    clock, rung = ManualClock(0), []
    timer = clock.call_at(5, lambda: rung.append(5))
    timer.cancel()
    clock.advance(10)
    assert not rung


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock(0).advance(-1)


async def test_the_system_clock_calls_when_the_time_has_come() -> None:
    clock, rung = SystemClock(), asyncio.Event()
    assert time.time_ns() <= clock.now_ns()
    clock.call_at(clock.now_ns() - 1, rung.set)
    await rung.wait()


async def test_the_system_clock_can_be_moved() -> None:
    clock, rung, never = SystemClock(ahead_ns=HOUR), asyncio.Event(), asyncio.Event()
    due = clock.now_ns() + 2 * HOUR
    clock.call_at(due, rung.set)
    cancelled = clock.call_at(due, never.set)
    clock.advance(HOUR)
    assert not rung.is_set()
    cancelled.cancel()
    clock.advance(HOUR)
    await rung.wait()
    cancelled.cancel()
    assert not never.is_set()
    assert clock.ahead_ns == 3 * HOUR
    assert clock.now_ns() >= time.time_ns() + 2 * HOUR
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_a_timer_may_set_the_next_one_each_at_its_own_time() -> None:
    clock, times = ManualClock(0), list[int]()

    def tick() -> None:
        times.append(clock.now_ns())
        clock.call_at(clock.now_ns() + 10, tick)

    clock.call_at(5, tick)
    clock.advance(36)
    assert (times, clock.now_ns()) == ([5, 15, 25, 35], 36)


async def test_sleeping_lasts_until_the_clock_has_moved() -> None:
    clock = ManualClock(0)
    sleeping = asyncio.ensure_future(sleep(clock, 10))
    await asyncio.sleep(0)
    clock.advance(9)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(1)
    await sleeping
    await sleep(clock, 0)


async def test_work_has_a_time_limit_by_the_clock() -> None:
    clock, cancelled = ManualClock(0), asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    limited = asyncio.ensure_future(finishes_within(clock, 10, forever()))
    await asyncio.sleep(0)
    clock.advance(9)
    assert not limited.done()
    clock.advance(1)
    assert await limited is False
    assert cancelled.is_set()
    assert await finishes_within(clock, 10, asyncio.sleep(0)) is True


async def test_a_time_limit_that_is_cancelled_from_outside_is_cancelled() -> None:
    limited = asyncio.ensure_future(finishes_within(ManualClock(0), 10, asyncio.Event().wait()))
    await asyncio.sleep(0)
    limited.cancel()
    with pytest.raises(asyncio.CancelledError):
        await limited
