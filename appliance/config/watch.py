"""Detects changes of the configuration: of its file and of the files that it names.

Folders are watched, because editors and deployments replace a file by a rename or by turning a symbolic link; every
folder with such a link on the way counts. The files themselves are watched too, because a file that is mounted by
itself changes in a folder that cannot be seen. All of them are read at an interval as well, for file systems without
notifications. Contents are compared, so that a file that is only touched is no change.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import structlog

# Not `watchfiles.awatch`, which registers the watch and waits in one step: files have to be read again between the two,
# or a change right before the registration is missed. The documentation of watchfiles describes the direct use.
from watchfiles._rust_notify import RustNotify

from appliance.config.files import digest_of

_log = structlog.get_logger(__name__)

QUIET_MS = 100
"""Quiet time after the last of several events, before they are reported as one change."""
DEBOUNCE_MS = 1600
"""The longest time for which continuing events delay the report."""
LOOK_MS = 5000
"""Between reads of the files where there is no notification."""
MAX_LINKS = 40
"""Symbolic links on the way to a file, as Linux has it."""

Places = dict[Path, tuple[int, int]]
"""Folders and files with their device and inode: the same path may be another folder later."""
Digests = dict[Path, str | None]


class Watch:
    """An async iterator over the changes of files, beginning with their contents when this is made."""

    def __init__(
        self, files: Callable[[], Iterable[Path]], *, look_ms: int = LOOK_MS, debounce_ms: int = DEBOUNCE_MS
    ) -> None:
        """``files`` returns the files to watch; it is called again after every change, which may name others."""
        self._files = files
        self._look_ms = look_ms
        self._debounce_ms = debounce_ms
        self._seen = _digests(files())

    async def __aiter__(self) -> AsyncIterator[None]:
        """One item for all files that changed together. A missing file is no change."""
        pool, stop = ThreadPoolExecutor(1, thread_name_prefix="watch"), threading.Event()
        try:
            while True:
                places = await asyncio.to_thread(places_of, self._files())
                notices = _notices(places)
                # Compare after registering: a change before is found here, and one after it gives a notification.
                while True:
                    if await self._has_changed():
                        yield None
                    if await asyncio.to_thread(places_of, self._files()) != places:
                        break
                    await self._something(notices, pool, stop)
        finally:
            stop.set()
            pool.shutdown(wait=False)

    async def _something(self, notices: RustNotify | None, pool: Executor, stop: threading.Event) -> None:
        """Wait until a file may have changed."""
        if notices is None:
            await asyncio.sleep(self._look_ms / 1000)
            return
        await asyncio.get_running_loop().run_in_executor(
            pool, notices.watch, self._debounce_ms, QUIET_MS, self._look_ms, stop
        )

    async def _has_changed(self) -> bool:
        now = await asyncio.to_thread(_digests, list(self._files()))
        before, self._seen = (
            self._seen,
            now | {file: self._seen.get(file) for file, digest in now.items() if not digest},
        )
        return any(digest is not None and file in before and before[file] != digest for file, digest in now.items())


def places_of(files: Iterable[Path]) -> Places:
    """The folders and files that get a notification when one of these files is replaced."""
    places: Places = {}
    for place in {place for file in files for place in _way_to(file)}:
        with contextlib.suppress(OSError):
            status = place.stat()
            places[place] = (status.st_dev, status.st_ino)
    return places


def _notices(places: Places) -> RustNotify | None:
    """Notifications for these places; None where there are none, e.g. because the machine has no watches left."""
    try:
        return RustNotify([str(place) for place in places], False, False, 0, False, True)
    except (OSError, RuntimeError) as error:
        _log.warning("files cannot be watched, they are read at an interval instead", cause=str(error))
        return None


def _way_to(file: Path) -> set[Path]:
    """The folder of every symbolic link on the way to a file, of the file, and the file."""
    here, ahead, places, links = Path("/"), list(file.absolute().parts[1:]), set(), 0
    while ahead:
        step = here / ahead.pop(0)
        if step.name == "..":
            here = here.parent
        elif step.is_symlink() and links < MAX_LINKS:
            links += 1
            places.add(here)
            target = Path(os.readlink(step))
            here, ahead = (
                (Path("/"), [*target.parts[1:], *ahead]) if target.is_absolute() else (here, [*target.parts, *ahead])
            )
        else:
            here = step
    return places | {here.parent, here}


def _digests(files: Iterable[Path]) -> Digests:
    return {file: digest_of(file) for file in files}
