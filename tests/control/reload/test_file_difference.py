import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.config.source import Source
from appliance.control.reload import file_difference
from tests.gateway.bench import until


@dataclass(frozen=True)
class Waiting(Source):
    """Its file is read when the test says so."""

    is_read: threading.Event = field(default_factory=threading.Event)
    readers: list[int] = field(default_factory=list)

    def hash(self) -> str | None:
        self.readers.append(len(self.readers))
        self.is_read.wait(60)
        return super().hash()


async def test_what_is_found_of_the_configuration_before_is_no_answer_about_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload tells whether the file still differs, while the page asks the same of what ran until then."""
    monkeypatch.setattr(file_difference, "SHOWN_WITHIN_S", 60)
    file = tmp_path / "gateway.yaml"
    file.write_text("log: {level: info}\n")
    source = Waiting(file)
    before = source.load()
    file.write_text("log: {level: debug}\n")
    after = source.load()
    difference = file_difference.FileDifference(source)
    of_before = asyncio.create_task(difference.shown(before, ()))
    await until(lambda: len(source.readers) == 1)
    of_after = asyncio.create_task(difference.shown(after, ()))
    await asyncio.sleep(0)
    source.is_read.set()
    assert [await of_before, await of_after] == [True, False]


async def test_a_file_that_hangs_takes_one_thread_and_is_shown_to_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the status is asked for: each look at it took a thread once, until none was left."""
    monkeypatch.setattr(file_difference, "SHOWN_WITHIN_S", 0.01)
    file = tmp_path / "gateway.yaml"
    file.write_text("log: {level: info}\n")
    source = Waiting(file)
    running = source.load()
    difference = file_difference.FileDifference(source)
    try:
        assert [await difference.shown(running, ()) for _ in range(10)] == [True] * 10
        assert len(source.readers) == 1
    finally:
        source.is_read.set()
    monkeypatch.setattr(file_difference, "SHOWN_WITHIN_S", 60)
    assert not await difference.shown(running, ())
