"""Detects changes of the configuration: of its file and of the files that it names, once they are finished.

A script may write a file through one open descriptor and pause: the first half is often valid, and acting upon it
would close the sessions of canisters in the second half. So a change counts when its writer has closed the file, or a
finished file was renamed to it. Folders are watched, because editors and deployments replace a file by a rename or by
turning a symbolic link; every folder with such a link on the way counts. The files themselves are watched too, because
a file that is mounted by itself changes in a folder that cannot be seen.

All of them are read at an interval as well, for file systems without notifications. There a change counts when the
content has stayed the same for ``SETTLE_MS``. Contents are compared, so a file that is only touched is no change.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path

import structlog

from appliance.config.files import digest_of
from appliance.config.source import Start
from appliance.config.watch.inotify import Inotify, Notice
from appliance.config.watch.ways import Way, places_of, way_to
from appliance.config.watch.writes import Writes
from appliance.threads import FILES

_log = structlog.get_logger(__name__)

QUIET_MS = 100
"""Quiet time after the last of several notices, before they are looked at as one change."""
DEBOUNCE_MS = 1600
"""The longest time for which continuing notices delay the look."""
LOOK_MS = 5000
"""Between reads of the files where there is no notification."""
SETTLE_MS = 2000
"""How long a content that changed without a notice has to stay the same."""
PATIENCE_MS = 10_000
"""How long a writer may keep a file open before the log says what is waited for."""

Digests = dict[Path, str | None]


class Watch:
    """An async iterator over the changes of files, beginning with their contents when this is made."""

    def __init__(
        self,
        files: Callable[[], Iterable[Path]],
        read: Mapping[Path, str] | None = None,
        *,
        look_ms: int = LOOK_MS,
        debounce_ms: int = DEBOUNCE_MS,
        settle_ms: int = SETTLE_MS,
    ) -> None:
        """``files`` returns the files to watch; it is called again after every change, which may name others.

        ``read`` are the digests of files that were read before: what changed since then is a change, too.
        """
        self.files = files
        self._look_ms = look_ms
        self._debounce_ms = debounce_ms
        self._settle_ms = settle_ms
        self._seen: Digests = {**_digests(files()), **(read or {})}
        self._settling: Digests = {}
        self._writes = Writes()
        self._reported: set[Way] = set()

    async def __aiter__(self) -> AsyncIterator[None]:
        """One item for all files that changed together. A missing file is no change."""
        notices = Notices.opened()
        try:
            while True:
                files = list(self.files())
                ways = {file: await FILES.run(way_to, file) for file in files}
                # Compare after registering: a change before is found here, and one after it gives a notification.
                has_new_places = notices.watch(await FILES.run(places_of, files))
                self._follow(notices, ways)
                if has_new_places:
                    continue  # the ways may have changed meanwhile
                if await self._has_changed(ways):
                    yield None
                elif not await self._wait(notices):
                    self._report_open_files()
        finally:
            notices.close()

    def _follow(self, notices: "Notices", ways: dict[Path, Way]) -> None:
        self._writes.follow(ways.values())
        for notice in notices.read():
            self._writes.notice(notice, ways.values())

    async def _wait(self, notices: "Notices") -> bool:
        """Wait until a file may have changed. Returns False if there was no notice for a long time."""
        limit_ms = self._settle_ms if self._settling else self._look_ms
        if self._writes.unfinished:
            limit_ms = min(limit_ms, PATIENCE_MS)
        return await notices.wait(limit_ms / 1000, QUIET_MS / 1000, self._debounce_ms / 1000)

    def _report_open_files(self) -> None:
        unfinished, self._reported = self._writes.unfinished - self._reported, set(self._writes.unfinished)
        for way in unfinished:
            _log.info("a file is being written; its change counts when the writer closes it", file=str(way.end))

    async def _has_changed(self, ways: dict[Path, Way]) -> bool:
        if self._writes.unfinished:  # of any file: a reload reads all of them
            return False
        # The files are listed again: a file that this change names must be known with its content of now.
        now = await FILES.run(_digests, list(self.files()))
        changed: Digests = {
            file: digest for file, digest in now.items() if digest and self._seen.get(file, digest) != digest
        }
        is_finished = all(ways.get(file) in self._writes.finished for file in changed)
        if changed and not (is_finished or changed == self._settling):
            self._settling = changed
            return False
        self._settling = {}
        self._seen = {file: digest or self._seen.get(file) for file, digest in now.items()}
        self._writes.forget()
        return bool(changed)


def watch_of(begun: Start) -> Watch | None:
    """A watch of what a start has read, None where ``watch`` is false.

    To be made before the start, which may wait for minutes until a network is up: a file that changes meanwhile is a
    change, and no later one may come that would bring it along.
    """
    source, config = begun.source, begun.loaded.config
    if not config.watch:
        return None
    read = {source.file: begun.file_hash} if source.file is not None and source.file.is_file() else {}
    return Watch(lambda: source.files(config), read)


class Notices:
    """The notifications of the kernel for a set of places, or none: then everything is found by reading again."""

    def __init__(self, inotify: Inotify | None) -> None:
        self._inotify = inotify
        self._places: dict[Path, tuple[int, int]] = {}
        self._handles: dict[Path, int] = {}
        self._collected: list[Notice] = []
        self._readable = asyncio.Event()
        if inotify is not None:
            asyncio.get_running_loop().add_reader(inotify.descriptor, self._gather)

    @classmethod
    def opened(cls) -> "Notices":
        """Notifications, if this system has them; otherwise a line in the log."""
        try:
            return cls(Inotify())
        except OSError as error:
            _log.warning("files cannot be watched, they are read at an interval instead", cause=str(error))
            return cls(None)

    def watch(self, places: dict[Path, tuple[int, int]]) -> bool:
        """Watch these places, and no others. Returns whether there is a new one among them."""
        if self._inotify is None or places == self._places:
            return False
        before, self._places = self._places, places
        is_new = False
        for place in [place for place in self._handles if before[place] != places.get(place)]:
            self._inotify.remove(self._handles.pop(place))
        for place in places.keys() - self._handles.keys():
            try:
                self._handles[place] = self._inotify.add(place)
            except OSError as error:
                _log.warning("a place cannot be watched", place=str(place), cause=str(error))
            else:
                is_new = True
        return is_new

    def read(self) -> list[Notice]:
        """The notices since the last call."""
        self._collect()
        collected, self._collected = self._collected, []
        return collected

    async def wait(self, limit_s: float, quiet_s: float, debounce_s: float) -> bool:
        """Wait for a notice, and until none follows for ``quiet_s``, but ``debounce_s`` at most. Returns False if there
        is none within ``limit_s``."""
        try:
            await asyncio.wait_for(self._readable.wait(), limit_s)
        except TimeoutError:
            return False
        loop = asyncio.get_running_loop()
        until_s = loop.time() + debounce_s
        with contextlib.suppress(TimeoutError):
            while loop.time() < until_s:
                self._collect()
                await asyncio.wait_for(self._readable.wait(), quiet_s)
        return True

    def _gather(self) -> None:
        # Read here: the loop would call this in every turn while nobody else reads, during a reload for instance.
        if self._inotify is not None:
            self._collected += self._inotify.read()
        self._readable.set()

    def _collect(self) -> None:
        self._gather()
        self._readable.clear()

    def close(self) -> None:
        """End the notifications."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.descriptor)
            self._inotify.close()


def _digests(files: Iterable[Path]) -> Digests:
    return {file: digest_of(file) for file in files}
