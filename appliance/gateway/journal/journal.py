"""Keeps on disk which clients the canisters may know, in a thread of its own.

A commit takes as long as the disk needs to flush, some milliseconds. What comes meanwhile waits for the next commit, so
that any number of openings share one (group commit) and none waits for more than two.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import structlog

from appliance.errors import JournalUnusable
from appliance.gateway.journal.entry import Entry, UsedOpening
from appliance.gateway.journal.files import LockedStore
from appliance.gateway.journal.store import Change, Departure, Removal
from appliance.threads import FILE_TIMEOUT_S, FILES

_log = structlog.get_logger(__name__)

BATCH = 1000
"""Changes of one commit at most."""
COMMIT_TIMEOUT_S = 5.0
"""Time for a commit, after which an opening goes on without it: a disk that hangs must not lock every client out."""
ALIVE_S = 30.0
"""Time between notes that the process lives, from which the next one reckons when its clients left."""
RETRY_S = 1.0
"""Time after a commit that failed until the next one."""
MAX_WAITING = 50_000
"""Openings and departures that are kept while the disk takes none. Beyond, the oldest are dropped."""


class _Changes(NamedTuple):
    """Changes that belong into one commit, and what waits for it."""

    changes: Sequence[Change]
    committed: asyncio.Future[None]


@dataclass(slots=True)
class JournalStats:
    """Counts since the start. ``failures`` are commits that failed or took too long, ``dropped`` the openings and
    departures that are lost.
    """

    commits: int = 0
    failures: int = 0
    dropped: int = 0
    commit_s: float = 0.0
    """Seconds that the last commit took."""


class Journal:
    """The journal of this process. ``left_behind`` and ``used`` are what earlier processes have left."""

    def __init__(
        self, file: Path, gateway: bytes, *, clock: Callable[[], int], files: LockedStore | None = None
    ) -> None:
        """``gateway`` is the principal of the gateway, ``clock`` ns since 1970. ``files`` are those of this file and
        gateway where they are open already. Raises JournalUnusable.
        """
        self._files = files or LockedStore(file, gateway, now_ns=clock())
        self.file = self._files.file
        self.left_behind = self._files.left_behind
        self.used = self._files.openings
        self.stats = JournalStats()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Changes] = deque(maxlen=MAX_WAITING)
        self._changed = threading.Condition()
        self._is_ending = False
        self._pruned_at = time.monotonic()
        self._is_failing = False
        self._ended = self._loop.create_future()
        threading.Thread(target=self._run, name="journal", daemon=True).start()

    @classmethod
    async def opened(cls, file: Path, gateway: bytes, *, clock: Callable[[], int]) -> Self:
        """As the constructor, without holding up the event loop. Raises JournalUnusable."""
        opening = asyncio.ensure_future(FILES.run(LockedStore, file, gateway, now_ns=clock()))
        try:
            async with asyncio.timeout(FILE_TIMEOUT_S):
                files = await asyncio.shield(opening)
        except BaseException as error:
            opening.add_done_callback(_let_go)  # its thread cannot be stopped, and nobody else would ever unlock it
            if isinstance(error, TimeoutError):
                raise JournalUnusable(str(file), f"it cannot be opened within {FILE_TIMEOUT_S:g} s") from None
            raise
        return cls(file, gateway, clock=clock, files=files)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits, close the file and let go of it, within ``COMMIT_TIMEOUT_S``. May be called again."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        with contextlib.suppress(TimeoutError):  # its thread does not keep the process alive
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await asyncio.shield(self._ended)

    async def add(self, entry: Entry, opening: UsedOpening | None) -> None:
        """Return when the client is on the disk, and its opening message with it; or when that failed, which is logged
        and counted: a full disk must not lock every client out. While it fails, nobody waits for it.
        """
        committed = self._put(entry) if opening is None else self._put(entry, opening)
        if self._is_failing:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await committed
        except TimeoutError:
            self._failed(f"no commit within {COMMIT_TIMEOUT_S:g} s")

    def remove(self, canister_id: bytes, client_key: bytes) -> None:
        """The canister does not know the client any more. Written with one of the next commits."""
        self._put(Removal(canister_id, client_key))

    def keep(self, canister_id: bytes, client_key: bytes) -> None:
        """The client left, and its canister could not be told: the next process has to."""
        self._put(Departure(canister_id, client_key, self._clock()))

    def _put(self, *changes: Change) -> "asyncio.Future[None]":
        committed = self._loop.create_future()
        with self._changed:
            self.stats.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(_Changes(changes, committed))
            self._changed.notify()
        return committed

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        batch: list[_Changes] = []
        is_last = False
        try:
            while not is_last:
                is_ending = self._fill(batch)
                is_last = is_ending and not self._waiting
                committed, begun = [each.committed for each in batch], time.monotonic()
                problem = self._commit(batch)
                self._on_loop(self._committed, committed, time.monotonic() - begun, problem)
                if batch:
                    # What failed before the end began is tried once more, and what fails after it is given up: the
                    # disk may never take it.
                    is_last = is_ending
                    self._pause()
        finally:
            try:
                self._files.close()
            finally:
                self._on_loop(self._ended.set_result, None)

    def _fill(self, batch: list[_Changes]) -> bool:
        """Add what waits to what could not be written before; wait for a change if there is none. Returns whether the
        end has begun, so that no more will come.
        """
        with self._changed:
            if not batch:
                self._changed.wait_for(lambda: self._waiting or self._is_ending, ALIVE_S)
            while self._waiting and len(batch) < BATCH:
                batch.append(self._waiting.popleft())
            return self._is_ending

    def _commit(self, batch: list[_Changes]) -> str | None:
        """Returns what went wrong. The batch has no more than what is to be tried again, so that a client that left
        meanwhile does not stay in the file.
        """
        try:
            changes = [change for each in batch for change in each.changes]
            self._files.store.write(changes, now_ns=self._clock())
            batch.clear()
            if time.monotonic() - self._pruned_at >= ALIVE_S:
                self._pruned_at = time.monotonic()
                self._files.store.prune(self._clock())
        except sqlite3.OperationalError as error:
            return str(error)  # the disk takes nothing, for now
        except Exception as error:  # not for want of a disk: one of these changes would fail for ever, and all with it
            return self._commit_others(batch, repr(error))
        return None

    def _commit_others(self, batch: list[_Changes], problem: str) -> str:
        """Write the changes of a batch without the one that cannot be written, which is found by halves."""
        every = list(batch)
        batch.clear()
        if len(every) == 1:
            with self._changed:
                self.stats.dropped += 1
            return problem
        for part in (every[: len(every) // 2], every[len(every) // 2 :]):
            problem = self._commit(part) or problem
            batch += part
        return problem

    def _pause(self) -> None:
        """Give a disk that takes nothing some time, until the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending, RETRY_S)

    def _on_loop(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(call, *args)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _committed(self, waiting: list[asyncio.Future[None]], took_s: float, problem: str | None) -> None:
        self.stats.commit_s = took_s
        if problem is None:
            self.stats.commits += 1
            if self._is_failing:
                _log.info("the journal is written again", file=str(self.file), dropped=self.stats.dropped)
            self._is_failing = False
        else:
            self._failed(problem)
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _failed(self, problem: str) -> None:
        self.stats.failures += 1
        if not self._is_failing:
            _log.error(
                "the journal cannot be written: a crash now would leave clients behind in their canisters",
                file=str(self.file),
                problem=problem,
            )
        self._is_failing = True


class NoJournal:
    """Keeps nothing: a crash leaves every client behind in its canister."""

    left_behind: Sequence[Entry] = ()
    used: Sequence[UsedOpening] = ()
    stats: JournalStats | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def add(self, entry: Entry, opening: UsedOpening | None) -> None:
        """See Journal."""

    def remove(self, canister_id: bytes, client_key: bytes) -> None:
        """See Journal."""

    def keep(self, canister_id: bytes, client_key: bytes) -> None:
        """See Journal."""

    async def close(self) -> None:
        """See Journal."""


def _let_go(opening: "asyncio.Future[LockedStore]") -> None:
    """Close files that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        FILES.submit(opening.result().close)
