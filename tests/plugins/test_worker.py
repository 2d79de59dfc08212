import asyncio
import sys
import threading

import pytest

from appliance.plugins.worker import Worker
from tests.gateway.bench import until

LONG_S = 30.0
MOST = 1000
MOST_BYTES = 1 << 20


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def worker(gate):
    it = Worker("test", most=MOST, most_bytes=MOST_BYTES)
    yield it
    gate.set()
    it.end()
    it._thread.join(LONG_S)
    assert not it.is_alive


async def test_what_is_put_runs_in_order_and_elsewhere(worker):
    ran: list[tuple[int, bool]] = []
    here = threading.main_thread()
    for number in range(100):
        assert worker.put(lambda number=number: ran.append((number, threading.current_thread() is here)))
    assert await worker.run(lambda: len(ran), LONG_S) == 100
    assert ran == [(number, False) for number in range(100)]


async def test_what_is_raised_reaches_who_asks(worker):
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await worker.run(fails, LONG_S)
    assert await worker.run(lambda: 5, LONG_S) == 5


async def test_an_exit_ends_nobody(worker):
    with pytest.raises(RuntimeError, match="SystemExit"):
        await worker.run(sys.exit, LONG_S)
    assert await worker.run(lambda: 5, LONG_S) == 5


async def test_who_asks_does_not_wait_longer_than_it_wants(worker, gate):
    with pytest.raises(TimeoutError):
        await worker.run(gate.wait, 0.001)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: 5, 0.001)  # its turn does not come
    gate.set()
    assert await worker.run(lambda: 5, LONG_S) == 5  # what came too late for its asker has done no harm


async def test_so_many_wait_and_no_more(worker, gate):
    worker.put(gate.wait)
    await until(lambda: not len(worker))  # it is under way
    for _ in range(MOST):
        assert worker.put(lambda: None)
    assert not worker.put(lambda: None)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: 5, LONG_S)
    gate.set()
    assert await worker.run(lambda: 5, LONG_S, anyway=True) == 5
    assert worker.put(lambda: None)


async def test_so_many_bytes_wait_and_one_that_is_larger_alone(worker, gate):
    worker.put(gate.wait)
    await until(lambda: not len(worker))
    assert worker.put(lambda: None, MOST_BYTES + 1)
    assert not worker.put(lambda: None, 1)
    gate.set()
    await until(lambda: not len(worker))
    assert worker.put(lambda: None, MOST_BYTES)


async def test_bytes_that_are_done_make_room(worker, gate):
    assert worker.put(lambda: None, MOST_BYTES)
    await until(lambda: not len(worker))
    worker.put(gate.wait)
    await until(lambda: not len(worker))
    assert worker.put(lambda: None, 1)
    assert worker.put(lambda: None, MOST_BYTES - 1)


async def test_after_the_end_nothing_is_taken_and_what_waited_is_done(gate):
    worker, ran = Worker("test", most=MOST, most_bytes=MOST_BYTES), []
    worker.put(gate.wait)
    worker.put(lambda: ran.append(1))
    worker.end()
    assert not worker.put(lambda: ran.append(2))
    gate.set()
    await until(lambda: not worker.is_alive)
    assert ran == [1]


def test_an_answer_for_a_loop_that_is_gone_is_dropped(gate):
    worker = Worker("test", most=MOST, most_bytes=MOST_BYTES)

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await worker.run(gate.wait, 0.001)

    asyncio.run(ask())
    gate.set()
    worker.end()
    worker._thread.join(LONG_S)
    assert not worker.is_alive
