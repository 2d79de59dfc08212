import asyncio

import pytest

from appliance.cluster.commands import Commands
from appliance.errors import EngineAway


async def test_a_late_command_is_not_cancelled_and_its_answer_is_passed_on():
    commands, goes_on, late = Commands(4), asyncio.Event(), []
    was_cancelled = False

    async def slow() -> str:
        nonlocal was_cancelled
        try:
            await goes_on.wait()
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        return "answer"

    with pytest.raises(EngineAway, match="no answer within 1 ms"):
        await commands.run(slow, 0.001, late=late.append)
    assert (commands.under_way, commands.late, late) == (1, 1, [])
    goes_on.set()
    await commands.finish(30)
    assert late == ["answer"]
    assert not was_cancelled
    assert commands.under_way == 0


async def test_a_caller_that_goes_away_leaves_its_command_alone():
    commands, goes_on, done = Commands(4), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await goes_on.wait()
        done.set()

    caller = asyncio.ensure_future(commands.run(slow, 60))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    goes_on.set()
    await commands.finish(30)
    assert done.is_set()


async def test_the_number_under_way_is_bounded_but_for_what_is_vital():
    commands, goes_on = Commands(4), asyncio.Event()
    for _ in range(4):
        with pytest.raises(EngineAway):
            await commands.run(goes_on.wait, 0)
    with pytest.raises(EngineAway, match="4 commands are under way"):
        await commands.run(goes_on.wait, 60)
    assert (commands.under_way, commands.dropped) == (4, 1)
    with pytest.raises(EngineAway, match="no answer"):
        await commands.run(goes_on.wait, 0, is_vital=True)
    goes_on.set()
    await commands.finish(30)


async def test_what_a_command_raises_is_raised_or_seen():
    commands = Commands(4)

    async def fails(after: asyncio.Event) -> None:
        await after.wait()
        raise EngineAway("it is gone")

    now, later = asyncio.Event(), asyncio.Event()
    now.set()
    with pytest.raises(EngineAway, match="gone"):
        await commands.run(lambda: fails(now), 60)
    with pytest.raises(EngineAway, match="no answer"):
        await commands.run(lambda: fails(later), 0, late=lambda _: pytest.fail("there is no answer"))
    later.set()
    await commands.finish(30)


async def test_at_the_end_nothing_is_left():
    commands = Commands(4)
    with pytest.raises(EngineAway):
        await commands.run(asyncio.Event().wait, 0)
    await commands.finish(0.01)
    assert commands.under_way == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
