import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.history import Record
from appliance.control.reload.trials import MAX_RETRY_S, RETRY_S, Trial, TrialTimer
from tests.control.reload.reloading import Timer

BEFORE = Record(1, "", "good", 0, "start", "start")
TRIAL = Trial(2, BEFORE, confirm_by_ns=60 * 10**9, keep_if_healthy=False)
LATER = Trial(3, BEFORE, confirm_by_ns=90 * 10**9, keep_if_healthy=False)


class Judged:
    """A timer whose judge first fails so many times, and then ends the trial as a confirmation or a rollback does."""

    def __init__(self, failures: int) -> None:
        self.clock = Timer()
        self.tasks: list[asyncio.Task[None]] = []
        self.calls: list[Trial] = []
        self.finished = 0
        self._failures = failures
        self.trials = TrialTimer(self.judge, start_task=self.start, sleep=self.clock.sleep)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    async def judge(self, trial: Trial) -> None:
        self.calls.append(trial)
        if len(self.calls) <= self._failures:
            raise OSError("the history cannot be written")
        self.trials.end()
        await asyncio.sleep(0)  # a task that was cancelled would not get past this
        self.finished += 1

    async def pass_deadline(self) -> None:
        """Let the sleep that is under way end, and all that follows from it."""
        await settle()
        self.clock.ring()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.integers(0, 9))
async def test_the_judge_is_called_until_it_has_ended_the_trial(failures: int) -> None:
    it = Judged(failures)
    it.trials.begin(TRIAL, 60)
    for call in range(failures + 1):
        assert (it.trials.current, len(it.calls)) == (TRIAL, call)
        await it.pass_deadline()
    assert (it.trials.current, it.calls, it.finished) == (None, [TRIAL] * (failures + 1), 1)
    assert it.clock.asked == [60, *(min(RETRY_S * 2**number, MAX_RETRY_S) for number in range(failures))]
    (task,) = it.tasks
    assert task.done()
    assert not task.cancelled(), "the judge must not cancel the task that awaits it"


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_trial_that_was_ended_is_not_judged_any_more(failures: int) -> None:
    it = Judged(failures)
    it.trials.begin(TRIAL, 60)
    for _ in range(failures):
        await it.pass_deadline()
    it.trials.end()
    it.trials.begin(LATER, 90)
    await it.pass_deadline()
    assert it.calls == [*[TRIAL] * failures, LATER]
    assert it.trials.current is None
    assert all(task.done() for task in it.tasks)


async def test_an_end_without_a_trial_does_nothing() -> None:
    it = Judged(0)
    it.trials.end()
    assert it.trials.current is None
    assert not it.tasks
