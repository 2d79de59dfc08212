import asyncio

from appliance.gateway.polling.wake_up import LoopWakeUp
from appliance.gateway.tasks import Tasks
from tests.gateway.bench import until


async def test_finishing_waits_for_what_is_started_meanwhile():
    tasks, done = Tasks(), []

    async def work(left):
        await asyncio.sleep(0)
        done.append(left)
        if left:
            tasks.start(work(left - 1))

    tasks.start(work(3))
    assert await tasks.finish(30) == 0
    assert done == [3, 2, 1, 0]


async def test_finishing_in_no_time_cancels():
    tasks, cancelled = Tasks(), []

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(True)

    tasks.start(work())
    await asyncio.sleep(0)
    assert await tasks.finish(0) == 1
    assert cancelled == [True]
    assert len(tasks) == 0


async def test_a_failure_is_not_lost_and_hurts_nobody(capsys):
    tasks = Tasks()

    async def work():
        raise ZeroDivisionError

    tasks.start(work())
    assert await tasks.finish(30) == 0
    assert "ZeroDivisionError" in capsys.readouterr().out


async def test_an_alarm_ends_its_wait_when_rung_before_or_meanwhile():
    alarm = LoopWakeUp()
    alarm.ring()
    assert await alarm.wait(3600) is True
    assert await alarm.wait(0) is False
    waiting = asyncio.ensure_future(alarm.wait(3600))
    await asyncio.sleep(0)
    alarm.ring()
    assert await waiting is True
    assert await alarm.wait(0.001) is False


async def test_a_cancelled_wait_leaves_nothing():
    alarm = LoopWakeUp()
    waiting = asyncio.ensure_future(alarm.wait(3600))
    await asyncio.sleep(0)
    waiting.cancel()
    await until(waiting.done)
    alarm.ring()
    assert await alarm.wait(3600) is True
