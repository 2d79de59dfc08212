"""A gateway of parts that only take notes, with the real way to another configuration."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from appliance.config.plan import Plan
from appliance.config.schema import Config
from appliance.config.source import Source, start
from appliance.control.reload.outcome import Outcome
from appliance.control.reload.reloads import Reloads

CHAT = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
FORUM = "bd3sg-teaaa-aaaaa-qaaba-cai"


class RecordingChange:
    """Notes what is done with it; fails where it is told to."""

    def __init__(self, part: "RecordingReloadable", new: Config) -> None:
        self._part = part
        self._new = new

    def commit(self) -> None:
        self._part.note("commit")
        self._part.config = self._new

    async def rollback(self) -> None:
        self._part.note("rollback")

    async def cleanup(self) -> None:
        if self._part.before_cleanup is not None:
            await self._part.before_cleanup()
        self._part.note("cleanup")


class RecordingReloadable:
    """Follows the configuration and notes it; ``errors`` are raised at the steps they are for, once each."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.config: Config | None = None
        self.errors: dict[str, BaseException] = {}
        self.before_prepare: Callable[[], Coroutine[Any, Any, object]] | None = None
        self.before_cleanup: Callable[[], Coroutine[Any, Any, object]] | None = None
        self._notes = notes

    async def prepare(self, new: Config) -> RecordingChange:
        if self.before_prepare is not None:
            await self.before_prepare()
        self.note("prepare")
        return RecordingChange(self, new)

    def note(self, step: str) -> None:
        self._notes.append(f"{self.name} {step}")
        if (error := self.errors.pop(step, None)) is not None:
            raise error


class Timer:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._waiting: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def ring(self) -> None:
        """Every sleep is over."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()


class Bench:
    """A file, the parts, and what was told."""

    def __init__(self, file: Path, names: Sequence[str] = "abc") -> None:
        self.file = file
        self.notes: list[str] = []
        self.parts = [RecordingReloadable(name, self.notes) for name in names]
        self.timer = Timer()
        self.sessions: dict[str, int] = {}
        self.failed_checks: list[str] = []
        self.told: list[Outcome] = []
        self.reloads: Reloads

    def make(self) -> Reloads:
        """As after a start of the process."""
        begun = start(Source(self.file))
        self.reloads = Reloads(
            begun,
            self.parts,
            count_sessions=self.count_sessions,
            failed_checks=self.find_failed_checks,
            clock=lambda: 1_000,
            sleep=self.timer.sleep,
        )
        self.reloads.observers.append(self.told.append)
        for part in self.parts:
            part.config = begun.loaded.config
        return self.reloads

    def count_sessions(self, plan: Plan) -> dict[str, int]:
        return {change.key: self.sessions[change.canister] for change in plan if change.canister in self.sessions}

    async def find_failed_checks(self) -> Sequence[str]:
        return self.failed_checks

    def write(self, text: str) -> None:
        self.file.write_text(text)

    @property
    def followed(self) -> Config:
        """The one configuration that every part follows."""
        (config,) = {id(part.config): part.config for part in self.parts}.values()
        assert config is not None
        return config

    @property
    def states(self) -> list[tuple[int, str, str]]:
        """The history, the oldest first."""
        return [(record.revision, record.text, record.state) for record in self.reloads.history][::-1]


@asynccontextmanager
async def bench(file: Path, text: str = "log: {level: info}\n") -> AsyncIterator[Bench]:
    """Started with a text. Checks at the end that no task is left."""
    it = Bench(file)
    it.write(text)
    async with it.make():
        yield it
    assert asyncio.all_tasks() == {asyncio.current_task()}
