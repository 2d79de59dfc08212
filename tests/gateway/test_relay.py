import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import CallExpired, RelayQueueFull
from appliance.gateway.relay import RelayQueue
from appliance.gateway.tasks import Tasks
from tests.gateway.bench import until


@dataclass
class Request:
    """What the queue reads of a request, and a number to know it by."""

    number: int
    body: bytes = b"envelope"


class Ic:
    """Sees calls through when told to."""

    def __init__(self) -> None:
        self.begun = []
        self.done = []
        self.errors = []
        self.gates = {}

    async def relay(self, request, size, since_ns):
        call = request.number
        self.begun.append(call)
        gate = self.gates[call] = asyncio.get_running_loop().create_future()
        await gate
        self.done.append(call)


@given(st.lists(st.sampled_from(["put", "answer", "breathe"]), max_size=60))
def test_one_at_a_time_in_order_whatever_the_delays(steps):
    async def run():
        ic, tasks = Ic(), Tasks()
        queue = RelayQueue(ic.relay, ic.errors.append, limit=1000, limit_bytes=1 << 20, tasks=tasks)
        put = 0
        for step in steps:
            if step == "put":
                queue.put(Request(put), 0)
                put += 1
            elif step == "answer" and len(ic.begun) > len(ic.done):
                ic.gates[ic.begun[-1]].set_result(None)
                await until(lambda: len(ic.done) == len(ic.begun) or not ic.gates[ic.begun[-1]].done())
            else:
                await asyncio.sleep(0)
            assert ic.begun == list(range(len(ic.begun)))
            assert len(ic.begun) - len(ic.done) in (0, 1)
        while len(ic.done) < put:
            await until(lambda: len(ic.begun) > len(ic.done))
            ic.gates[ic.begun[-1]].set_result(None)
            await until(lambda: len(ic.done) == len(ic.begun) or not ic.gates[ic.begun[-1]].done())
        await queue.settled()
        assert ic.done == list(range(put))
        await until(lambda: not len(tasks))
        assert not ic.errors

    asyncio.run(run())


async def test_a_full_queue_is_refused_and_the_rest_goes_on():
    ic, tasks = Ic(), Tasks()
    queue = RelayQueue(ic.relay, ic.errors.append, limit=2, limit_bytes=100, tasks=tasks)
    queue.put(Request(0), 0)
    await until(lambda: ic.begun)
    queue.put(Request(1), 0)
    queue.put(Request(2), 0)
    with pytest.raises(RelayQueueFull):
        queue.put(Request(3), 0)
    assert len(queue) == 2
    await tasks.cancel()
    await queue.settled()


async def test_large_messages_fill_it_sooner_but_one_always_fits():
    ic, tasks = Ic(), Tasks()
    queue = RelayQueue(ic.relay, ic.errors.append, limit=9, limit_bytes=100, tasks=tasks)
    queue.put(Request(0, bytes(1000)), 0)
    await until(lambda: ic.begun)
    queue.put(Request(1, bytes(60)), 0)
    queue.put(Request(2, bytes(40)), 0)
    with pytest.raises(RelayQueueFull, match="100 bytes wait"):
        queue.put(Request(3, bytes(1)), 0)
    ic.gates[0].set_result(None)
    await until(lambda: 1 in ic.gates)
    queue.put(Request(3, bytes(60)), 0)
    await tasks.cancel()


async def test_what_waits_behind_a_failed_call_is_dropped():
    ic, tasks = Ic(), Tasks()
    queue = RelayQueue(ic.relay, ic.errors.append, limit=9, limit_bytes=100, tasks=tasks)
    for call in range(3):
        queue.put(Request(call), 0)
    await until(lambda: ic.begun)
    error = CallExpired("ws_message", "no answer")
    ic.gates[0].set_exception(error)
    await queue.settled()
    assert ic.begun == [0]
    assert ic.errors == [error]
    assert len(queue) == 0


async def test_settling_does_not_hang_on_a_task_that_never_ran():
    ic, tasks = Ic(), Tasks()
    queue = RelayQueue(ic.relay, ic.errors.append, limit=9, limit_bytes=100, tasks=tasks)
    queue.put(Request(0), 0)
    await tasks.cancel()
    await queue.settled()
    assert not ic.begun
