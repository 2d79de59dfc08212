import asyncio
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.state.clock import ManualClock, SystemClock

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
