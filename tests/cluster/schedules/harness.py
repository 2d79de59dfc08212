"""Runs a schedule."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.schedules.faults import FAULTS
from tests.cluster.schedules.nodes import NodeEnded
from tests.cluster.schedules.oracle import Tally
from tests.cluster.schedules.schedule import Schedule
from tests.cluster.schedules.stage import Stage, stage_of


@dataclass
class Outcome:
    """What came of a schedule: ``problems`` in words, none where all is well; how many sessions there were and what
    became of their messages; and how many close calls were made a second time."""

    schedule: Schedule
    problems: list[str] = field(default_factory=list)
    sessions: int = 0
    messages: Tally = field(default_factory=Tally)
    told_twice: int = 0

    def report(self) -> str:
        """The problems and the command that repeats it."""
        return "\n".join(
            [
                str(self.schedule),
                *self.problems,
                f"to repeat it: python -m tests.cluster.schedules {self.schedule.name}",
            ]
        )


async def run(schedule: Schedule, release: Path | None = None) -> Outcome:
    """Run a schedule; raises nothing. ``release`` is a checkout that one of the nodes runs instead of this one."""
    outcome = Outcome(schedule)
    with TemporaryDirectory(prefix="icws") as folder:
        async with stage_of(replace(schedule.settings(), release=release), Path(folder)) as stage:
            try:
                async with stage.playing():
                    for group in schedule.faults:
                        await _together([FAULTS[fault].run(stage) for fault in group])
                        await stage.rounds(1)
                    await stage.finish()
            except NodeEnded as error:
                is_refused = release is not None and "have the schema" in str(error)
                stage.check(is_refused, f"the run itself failed: {error!r}")
                print(f"two releases: {error}")
            except Exception as error:  # whatever it is, the other schedules are to be run
                stage.problems.append(f"the run itself failed: {error!r}")
            outcome.problems = stage.problems
            outcome.sessions = len(stage.sessions)
            outcome.messages = stage.tally
            outcome.told_twice = stage.told_twice
            if stage.problems:
                _keep(stage)
    return outcome


async def _together(faults: list[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in faults:
            group.create_task(_wait_for(each))


async def _wait_for(fault: Awaitable[None]) -> None:
    await fault


def _keep(stage: Stage) -> None:
    for node in stage.nodes.values():
        for line in node.log:
            print(f"{node.name}: {line}")
