"""Waiting for a turn: who has it, who gives it back, and who gave up."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from appliance.config.schema import Relay
from appliance.gateway.calls.budget import CallBudget, TurnTimeout
from appliance.gateway.calls.scheduler import KEPT, Kind, Ticket
from tests.gateway.clock import advance, run

CALLS = KEPT
ROOM = CALLS - 2  # for messages


def ticket(canister: bytes = b"a") -> Ticket:
    return Ticket(Kind.MESSAGE, canister, b"", 100)


def a_budget() -> CallBudget:
    return CallBudget(Relay(calls=CALLS))


class Full:
    """A budget whose part for messages is taken by several canisters; ``free`` gives one turn back."""

    def __init__(self) -> None:
        self.budget = a_budget()
        self._turns: list[AsyncExitStack] = []

    async def __aenter__(self) -> "Full":
        for number in range(ROOM):
            stack = AsyncExitStack()
            await stack.enter_async_context(self.budget.turn(ticket(bytes([number]))))
            self._turns.append(stack)
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._turns:
            await self.free()
        assert self.budget.scheduler.under_way == self.budget.scheduler.waiting == 0
        assert not self.budget._turns

    async def free(self) -> None:
        await self._turns.pop().aclose()

    async def take(self, timeout_s: float | None = None) -> None:
        async with self.budget.turn(ticket(b"other"), timeout_s):
            self.taken = True

    taken = False


async def test_a_turn_waits_until_another_ends():
    async with Full() as full:
        task = asyncio.create_task(full.take())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not full.taken
        await full.free()
        await task
        assert full.taken


def test_a_turn_that_does_not_come_in_time_is_given_up():
    async def work() -> None:
        async with Full() as full:
            task = asyncio.create_task(full.take(5.0))
            await advance(0)
            await advance(4.9)
            assert not task.done()
            await advance(0.1)
            with pytest.raises(TurnTimeout):
                await task
            assert not full.taken

    run(work)


@pytest.mark.parametrize("freed_first", [False, True])
async def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing(freed_first):
    async with Full() as full:
        task = asyncio.create_task(full.take())
        await asyncio.sleep(0)
        if freed_first:  # its turn has come, and it has not run since
            await full.free()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not full.taken


async def test_an_error_inside_gives_the_turn_back_and_is_not_taken_for_a_time_out():
    budget = a_budget()
    with pytest.raises(TimeoutError) as raised:
        async with budget.turn(ticket(), 5.0):
            raise TimeoutError
    assert not isinstance(raised.value, TurnTimeout)
    assert budget.scheduler.under_way == 0


async def test_a_larger_budget_lets_those_begin_that_wait():
    async with Full() as full:
        task = asyncio.create_task(full.take())
        await asyncio.sleep(0)
        full.budget.follow(Relay(calls=2 * CALLS))
        await task
        assert full.taken
