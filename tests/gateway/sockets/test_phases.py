"""Timers that connections share end in time, whatever others do meanwhile."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.sockets.phases import TICKS, Timers
from tests.gateway.clock import advance, run

WHOLE_S = 32.0


class Waiting:
    """A connection that waits, and may cancel the timers of others when its own ends, or begin a new one."""

    def __init__(self, timers: Timers, seconds: float) -> None:
        self.timers = timers
        self.seconds = seconds
        self.cancels: list[Waiting] = []
        self.again_s: float | None = None
        self.at: float | None = None
        self.ended_at: list[float] = []

    def start(self, seconds: float) -> None:
        self.at = self.timers.start(self, seconds, shared=WHOLE_S)

    def cancel(self) -> None:
        if self.at is not None:
            self.timers.cancel(self, self.at)
            self.at = None

    def expire(self) -> None:
        self.at = None
        self.ended_at.append(asyncio.get_running_loop().time())
        for other in self.cancels:
            other.cancel()
        if self.again_s is not None:
            seconds, self.again_s = self.again_s, None
            self.start(seconds)


@given(st.lists(st.floats(0.001, WHOLE_S), min_size=1, max_size=20))
def test_a_timer_ends_within_a_tick_after_its_time_and_not_before(lengths):
    async def play() -> None:
        loop, timers = asyncio.get_running_loop(), Timers()
        begun = loop.time()
        waiting = [Waiting(timers, seconds) for seconds in lengths]
        for each in waiting:
            each.start(each.seconds)
        assert len(timers) == len(waiting)
        while len(timers):
            await advance(WHOLE_S / TICKS / 4)
        for each in waiting:
            (ended,) = each.ended_at
            assert each.seconds - 1e-6 <= ended - begun <= each.seconds + 1.3 * WHOLE_S / TICKS

    run(play)


def test_a_timer_that_another_one_cancels_in_the_same_turn_does_not_end():
    async def play() -> None:
        timers = Timers()
        both = [Waiting(timers, 1.0) for _ in range(2)]
        for each, other in zip(both, reversed(both), strict=True):
            each.cancels = [other]
            each.start(1.0)
        await advance(2.0)
        assert sorted(len(each.ended_at) for each in both) == [0, 1]
        assert not len(timers)

    run(play)


def test_a_timer_that_begins_when_another_one_ends_waits_for_a_later_turn():
    async def play() -> None:
        timers = Timers()
        one = Waiting(timers, 1.0)
        one.again_s = (
            1e-9  # the clock of a loop has whole milliseconds, so that its timers end too early by parts of one
        )
        one.start(1.0)
        await advance(2.0)
        await advance(2.0)
        assert len(one.ended_at) == 2
        assert not len(timers)

    run(play)


def test_connections_that_are_silent_together_have_few_timers_of_the_loop():
    async def play() -> None:
        loop, timers, made = asyncio.get_running_loop(), Timers(), []
        call_at = loop.call_at
        loop.call_at = lambda *arguments, **named: (made.append(arguments[0]), call_at(*arguments, **named))[1]  # type: ignore[method-assign]
        waiting = [Waiting(timers, WHOLE_S * (0.5 + number / 2000)) for number in range(1000)]
        for each in waiting:
            each.start(each.seconds)
        assert len(made) <= TICKS / 2 + 2
        for each in waiting:
            each.cancel()
        assert not len(timers)

    run(play)
