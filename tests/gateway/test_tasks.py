import asyncio

from appliance.gateway.tasks import Tasks


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
