import asyncio

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import CanisterPolling
from appliance.gateway.polling.schedule import ACTIVE_POLLS, JOINED_S, Backoff, LoopWakeUp, Pace
from tests.gateway import virtual_time
from tests.gateway.bench import until

POLLING = CanisterPolling(min_interval=0.05, max_interval=1.0, max_backoff=10.0)
START = Pace(POLLING)
paces = st.builds(Pace, st.just(POLLING), st.floats(0, POLLING.max_interval), st.integers(0, 10_000))
backoffs = st.builds(Backoff, st.integers(0, 10_000), st.floats(0, POLLING.max_backoff))
jitters = st.floats(0, 1)


@given(paces)
def test_more_in_the_queue_is_asked_for_at_once(pace):
    assert pace.after(polled=1, drained=False).wait_s == 0


@given(paces, st.booleans())
def test_nothing_new_never_makes_it_spin(pace, drained):
    assert pace.after(polled=0, drained=drained).wait_s >= POLLING.min_interval


@given(paces, st.integers(0, 50), st.booleans())
def test_a_reply_keeps_within_the_bounds(pace, polled, drained):
    after = pace.after(polled=polled, drained=drained)
    assert 0 <= after.wait_s <= POLLING.max_interval
    assert after.is_active == (polled > 0 or pace.quiet + 1 < ACTIVE_POLLS)


def test_silence_slows_down_by_doubling_up_to_the_most():
    waits = []
    pace = START.nudged()
    for _ in range(8):
        pace = pace.after(polled=0, drained=True)
        waits.append(pace.wait_s)
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


@given(paces)
def test_a_nudge_polls_at_once(pace):
    assert pace.nudged().wait_s == 0
    assert pace.nudged().is_active


@given(st.integers(1, 200), jitters)
def test_failures_wait_longer_and_longer_but_not_for_ever(failures, jitter):
    backoff = Backoff()
    for _ in range(failures):
        before, backoff = backoff, backoff.failed(POLLING, jitter=jitter)
    assert backoff.failures == failures
    assert before.wait_s <= backoff.wait_s <= POLLING.max_backoff
    assert backoff.wait_s >= POLLING.min_interval / 2


@given(st.floats(0.01, 0.1), st.integers(0, 8), st.integers(0, 14), jitters)
def test_each_failure_in_a_row_doubles_the_wait_up_to_the_most(least, times, failures, jitter):
    polling = CanisterPolling(min_interval=least, max_backoff=least * 2**times + 0.1)
    backoff = Backoff(failures).failed(polling, jitter=jitter)
    full = min(least * 2**failures, polling.max_backoff)
    assert backoff.wait_s == pytest.approx(full * (1 - jitter / 2))


@given(backoffs, jitters, st.floats(0, 1e9))
def test_the_endpoints_wish_counts_within_the_bound(backoff, jitter, wish):
    wait = backoff.failed(POLLING, jitter=jitter, retry_after_s=wish).wait_s
    assert min(wish, POLLING.max_backoff) <= wait <= POLLING.max_backoff


def test_jitter_spreads():
    assert Backoff().failed(POLLING, jitter=0).wait_s == 2 * Backoff().failed(POLLING, jitter=1).wait_s


async def test_a_wake_up_ends_its_wait_when_set_before_or_meanwhile():
    wake_up = LoopWakeUp()
    wake_up.set()
    assert await wake_up.wait(3600) is True
    assert await wake_up.wait(0) is False
    waiting = asyncio.ensure_future(wake_up.wait(3600))
    await asyncio.sleep(0)
    wake_up.set()
    assert await waiting is True
    assert await wake_up.wait(0.001) is False


async def test_a_cancelled_wait_leaves_nothing():
    wake_up = LoopWakeUp()
    waiting = asyncio.ensure_future(wake_up.wait(3600))
    await asyncio.sleep(0)
    waiting.cancel()
    await until(waiting.done)
    wake_up.set()
    assert await wake_up.wait(3600) is True


@given(st.lists(st.floats(0, JOINED_S / 10), max_size=9), st.floats(2 * JOINED_S, 10))
def test_what_is_set_in_a_burst_ends_one_wait(gaps, seconds):
    async def burst() -> None:
        loop, wake_up = asyncio.get_running_loop(), LoopWakeUp()
        waiting = asyncio.ensure_future(wake_up.wait(seconds))
        await asyncio.sleep(0)
        begun = loop.time()
        wake_up.set()
        for gap in gaps:
            await asyncio.sleep(gap)
            wake_up.set()
        assert await waiting is True
        assert loop.time() - begun == pytest.approx(JOINED_S)
        assert await wake_up.wait(3600) is False
        assert loop.time() - begun >= 3600

    virtual_time.run(burst)


def test_a_wait_of_almost_no_time_is_woken_on_every_loop() -> None:
    """uvloop makes no timer of less than a millisecond."""

    async def woken() -> bool:
        wake_up = LoopWakeUp()
        waiting = asyncio.ensure_future(wake_up.wait(1e-5))
        await asyncio.sleep(0)
        wake_up.set()
        return await waiting

    assert asyncio.run(woken())
    assert uvloop.run(woken())
