"""A turn of the loop has room for so many frames, everybody gets a share, and whoever sends little does not wait."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.recording.measurements import Counters
from appliance.gateway.sockets.turns import DIRECT, EACH, WAITING, Turns


class Worker:
    def __init__(self, frames: int, log: list[tuple["Worker", int]]) -> None:
        self.frames = frames
        self.log = log

    @property
    def has_work(self) -> bool:
        return self.frames > 0

    def work(self, frames: int) -> int:
        handled = min(frames, self.frames)
        self.frames -= handled
        self.log.append((self, handled))
        return handled


async def turn() -> None:
    await asyncio.sleep(0)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_no_turn_is_longer_than_its_room_and_all_is_handled(numbers):
    async def run():
        counters, log = Counters(), []
        turns = Turns(counters)
        workers = [Worker(number, log) for number in numbers]
        for worker in workers:
            turns.serve(worker)
        assert sum(handled for _, handled in log) <= DIRECT
        while any(worker.frames for worker in workers):
            log.clear()
            await turn()
            assert 0 < sum(handled for _, handled in log) <= WAITING
            assert all(handled <= EACH for _, handled in log)
        assert not len(turns)
        assert bool(counters.delayed) == (max(numbers) > EACH or sum(numbers) > DIRECT)

    asyncio.run(run())


def test_those_who_wait_are_served_one_after_the_other():
    async def run():
        log = []
        turns = Turns(Counters())
        greedy = [Worker(10_000, log) for _ in range(6)]
        for worker in greedy:
            turns.serve(worker)
        for _ in range(30):
            await turn()
        shares = [10_000 - worker.frames for worker in greedy]
        assert max(shares) - min(shares) <= EACH

    asyncio.run(run())


def test_a_frame_now_and_then_is_handled_at_once_however_many_wait():
    async def run():
        log = []
        turns = Turns(Counters())
        for _ in range(500):
            turns.serve(Worker(10_000, log))
        for _ in range(20):
            await turn()
            modest = Worker(1, log)
            turns.serve(modest)
            assert not modest.frames

    asyncio.run(run())


def test_whoever_is_forgotten_is_served_no_more():
    async def run():
        log = []
        turns = Turns(Counters())
        gone, other = Worker(100, log), Worker(100, log)
        turns.serve(gone)
        turns.serve(other)
        turns.forget(gone)
        log.clear()
        while other.frames:
            await turn()
        assert {worker for worker, _ in log} == {other}

    asyncio.run(run())
