"""Sees that the configuration has changed: the file itself and those that it names.

Folders are watched, not files: editors and deployments put another file in the place of the old one, by a rename or by
turning a symbolic link, and every folder with such a link on the way counts. The files themselves are watched too,
because one that is mounted by itself changes in a folder that cannot be seen. And all of it is looked at now and then,
for file systems that tell nothing. What counts is what is in a file, so that one that is only touched is no change.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import structlog
from watchfiles import awatch

from appliance.config.files import digest_of

_log = structlog.get_logger(__name__)

QUIET_MS = 100
"""After the last of several events, before anything is done about them."""
DEBOUNCE_MS = 1600
"""The longest that events may keep it from being done."""
LOOK_MS = 5000
"""Between looks where nothing was told."""
MAX_LINKS = 40
"""Symbolic links on the way to a file, as Linux has it."""

Digests = dict[Path, str | None]


class Watch:
    """An async iterator over the changes of files. What is in them when this is made is what changes are seen from."""

    def __init__(
        self, files: Callable[[], Iterable[Path]], *, look_ms: int = LOOK_MS, debounce_ms: int = DEBOUNCE_MS
    ) -> None:
        """``files`` are those to watch now, the configuration itself the first; it is asked again after every change."""
        self._files = files
        self._look_ms = look_ms
        self._debounce_ms = debounce_ms
        self._seen = _digests(files())

    async def __aiter__(self) -> AsyncIterator[None]:
        """One item for what changed together. A file that is not there (yet) is no change."""
        while True:
            if await self._has_changed():
                yield None
            places = await asyncio.to_thread(places_of, self._files())
            try:
                async for _ in self._events(places):
                    if await self._has_changed():
                        yield None
                    if await asyncio.to_thread(places_of, self._files()) != places:
                        break
            except OSError as error:
                _log.warning("files cannot be watched, they are looked at instead", cause=str(error))
                await asyncio.sleep(self._look_ms / 1000)

    def _events(self, places: set[Path]) -> AsyncIterator[object]:
        return awatch(
            *places,
            watch_filter=None,
            recursive=False,
            step=QUIET_MS,
            debounce=self._debounce_ms,
            rust_timeout=self._look_ms,
            yield_on_timeout=True,
        )

    async def _has_changed(self) -> bool:
        now = await asyncio.to_thread(_digests, list(self._files()))
        before, self._seen = (
            self._seen,
            now | {file: self._seen.get(file) for file, digest in now.items() if not digest},
        )
        return any(digest is not None and file in before and before[file] != digest for file, digest in now.items())


def places_of(files: Iterable[Path]) -> set[Path]:
    """The folders and files where something happens when one of these files becomes another one."""
    return {place for file in files for place in _way_to(file) if place.exists()}


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
