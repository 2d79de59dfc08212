import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.config.watch.inotify import Inotify
from appliance.config.watch.watch import Watch
from appliance.config.watch.ways import places_of
from tests.gateway.bench import until

LONG_S = 15
"""Far longer than any change takes: who waits so long has found a fault."""


class Changes:
    """The changes that a watch reports, one after the other. Every wait has an end, which says what did not happen."""

    def __init__(self) -> None:
        self.reported: asyncio.Queue[None] = asyncio.Queue()
        self.looks = 0

    def begin(self, watch: Watch) -> None:
        self._task = asyncio.create_task(self._listen(watch))

    async def looked(self, count: int) -> None:
        """Wait until the watch has looked so often."""
        end = self.looks + count
        await until(lambda: self.looks >= end)

    async def _listen(self, watch: Watch) -> None:
        async for _ in watch:
            self.reported.put_nowait(None)

    async def one(self) -> None:
        change = asyncio.ensure_future(self.reported.get())
        await asyncio.wait({change, self._task}, timeout=LONG_S, return_when=asyncio.FIRST_COMPLETED)
        if change.done():
            return
        change.cancel()
        if self._task.done():
            await self._task  # raises what ended it
            pytest.fail("the watch ended by itself")
        pytest.fail(f"a file was changed, and the watch did not report it within {LONG_S} s")

    async def end(self) -> None:
        self._task.cancel()
        done, _ = await asyncio.wait({self._task}, timeout=LONG_S)
        assert done, f"the watch did not end within {LONG_S} s after it was cancelled"
        with pytest.raises(asyncio.CancelledError):
            await self._task


@asynccontextmanager
async def watched(*files: Path, look_ms: int = 60_000, settle_ms: int = 300) -> AsyncIterator[Changes]:
    """Looks so seldom that only notifications count. What comes late is sorted out by what is in the files."""

    def listed() -> list[Path]:
        changes.looks += 1
        return list(files)

    changes = Changes()
    changes.begin(Watch(listed, look_ms=look_ms, debounce_ms=400, settle_ms=settle_ms))
    try:
        yield changes
        assert changes.reported.empty()
    finally:
        await changes.end()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "gateway.yaml").write_text("0")
    return tmp_path


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    new = file.with_name("new")
    new.write_text(text)
    new.rename(file)


def removed_and_made_again(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def as_editors_do(file: Path, text: str) -> None:
    file.rename(file.with_suffix(".bak"))
    file.write_text(text)


@pytest.mark.parametrize("write", [in_place, by_rename, removed_and_made_again, as_editors_do])
async def test_a_change_is_told_however_it_is_written(folder: Path, write: Callable[[Path, str], None]) -> None:
    file = folder / "gateway.yaml"
    async with watched(file) as changes:
        for number in range(1, 4):
            write(file, str(number))
            await changes.one()


async def test_what_a_mounted_config_map_does_is_reported(tmp_path: Path) -> None:
    """gateway.yaml -> ..data/gateway.yaml, ..data -> a folder; another ..data is renamed over it."""

    def revision(number: int) -> None:
        inner = tmp_path / f"..{number}"
        inner.mkdir()
        (inner / "gateway.yaml").write_text(str(number))
        (tmp_path / "..data_tmp").symlink_to(inner.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    revision(0)
    file = tmp_path / "gateway.yaml"
    file.symlink_to("..data/gateway.yaml")
    async with watched(file) as changes:
        for number in range(1, 4):
            revision(number)
            await changes.one()
            assert file.read_text() == str(number)


async def test_a_link_on_the_way_that_is_turned_is_reported(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "gateway.yaml").write_text(release)
    (tmp_path / "etc").mkdir()
    current = tmp_path / "etc" / "current"
    current.symlink_to("../1")
    async with watched(current / "gateway.yaml") as changes:
        (tmp_path / "turned").symlink_to("../2")
        (tmp_path / "turned").rename(current)
        await changes.one()
        (tmp_path / "2" / "gateway.yaml").write_text("3")
        await changes.one()


class Script:
    """Writes a file through one open descriptor, in parts."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("w")

    def write(self, part: str) -> None:
        self._stream.write(part)
        self._stream.flush()

    def end(self) -> None:
        self._stream.close()


@pytest.mark.parametrize("other", [False, True])
async def test_the_first_half_of_a_file_counts_when_the_second_is_there(folder: Path, *, other: bool) -> None:
    """Also where another file is finished meanwhile: a reload would read the half-written one too."""
    file, key = folder / "gateway.yaml", folder / "tls.key"
    key.write_text("0")
    async with watched(file, key, look_ms=20, settle_ms=20) as changes:
        in_place(file, "1")
        await changes.one()
        script = Script(file)
        script.write("first half")
        if other:
            by_rename(key, "1")
        await changes.looked(20)  # each would find a content that has stayed the same for longer than it has to
        assert changes.reported.empty()
        script.write(", second half")
        script.end()
        await changes.one()
        assert file.read_text() == "first half, second half"


async def test_without_notifications_a_content_counts_once_it_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: Inotify) -> None:
        raise OSError("no inotify")

    monkeypatch.setattr(Inotify, "__init__", missing)
    file = folder / "gateway.yaml"
    async with watched(file, look_ms=20, settle_ms=20) as changes:
        for number in range(1, 4):
            in_place(file, str(number))
            await changes.one()


async def test_many_writes_at_once_are_one_change(folder: Path) -> None:
    file = folder / "gateway.yaml"
    async with watched(file) as changes:
        for number in range(50):
            in_place(file, f"{number}\n" * 1000)
        await changes.one()
        in_place(file, "the end")
        await changes.one()


async def test_what_says_the_same_is_no_change(folder: Path) -> None:
    file = folder / "gateway.yaml"
    async with watched(file) as changes:
        by_rename(file, "0")
        os.utime(file)
        (folder / "another.yaml").write_text("1")
        file.chmod(0o600)
        in_place(file, "1")
        await changes.one()


async def test_a_file_that_is_gone_is_no_change_until_it_is_back(folder: Path) -> None:
    file, other = folder / "gateway.yaml", folder / "tls.pem"
    async with watched(file, other) as changes:
        file.unlink()
        other.write_text("it was not there")
        await changes.one()
        file.write_text("0")  # as it was
        other.write_text("again")
        await changes.one()
        file.write_text("1")
        await changes.one()


async def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "gateway.yaml"
    async with watched(file, look_ms=50) as changes:
        file.parent.mkdir()
        file.write_text("1")
        await changes.one()


async def test_files_that_are_named_later_are_watched_from_then_on(folder: Path) -> None:
    file, plugin = folder / "gateway.yaml", folder / "plugins" / "audit.py"
    plugin.parent.mkdir()
    plugin.write_text("0")
    changes = Changes()
    changes.begin(Watch(lambda: [file, plugin] if file.read_text() == "1" else [file], look_ms=50))
    plugin.write_text("nobody looks")
    file.write_text("1")
    await changes.one()
    file.write_text("2")
    await changes.one()
    file.write_text("1")
    await changes.one()
    plugin.write_text("2")
    await changes.one()
    await changes.end()


async def test_what_changed_before_anybody_listened_is_reported(folder: Path) -> None:
    watch = Watch(lambda: [folder / "gateway.yaml"])
    (folder / "gateway.yaml").write_text("1")
    changes = Changes()
    changes.begin(watch)
    await changes.one()
    await changes.end()


def test_every_folder_with_a_link_on_the_way_counts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "c" / "real.yaml").write_text("")
    (tmp_path / "b" / "link.yaml").symlink_to(tmp_path / "c" / "real.yaml")
    (tmp_path / "a" / "gateway.yaml").symlink_to("../b/link.yaml")
    places = places_of([tmp_path / "a" / "gateway.yaml"])
    assert {tmp_path / name for name in ("a", "b", "c", "c/real.yaml")} == {
        place for place in places if tmp_path in place.parents
    }


def test_links_that_lead_nowhere_end(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    assert tmp_path in places_of([tmp_path / "x"])
    assert places_of([tmp_path / "absent" / "gateway.yaml"]) == {}
