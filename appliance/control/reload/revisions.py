"""The revisions of the configuration that runs, in a history whose disk may be full or hang."""

import asyncio
import contextlib
from collections.abc import Callable

from appliance.config.history import History, Record, State
from appliance.config.source import Source
from appliance.errors import NothingToRollBackTo, RevisionUnknown
from appliance.threads import FILES, Threads

WRITE_S = 5.0
"""The longest that each step of an apply waits for the disk of the history."""


class Revisions:
    """Adds and marks revisions, and has a thread write them. A disk that is full or hangs stops no change: see
    `History.not_kept`. ``clock`` is ns since 1970.
    """

    def __init__(self, history: History, source: Source, clock: Callable[[], int]) -> None:
        self.history = history
        self._source = source
        self._clock = clock
        # One, for the order of the writes. One may wait: it writes whatever has changed until it begins.
        self._thread = Threads("history", 1, max_waiting=1)

    def close(self) -> None:
        """End the thread when it has nothing to write."""
        self._thread.shutdown()

    def mark_unfinished(self) -> None:
        """Mark what an earlier process did not finish; not written yet."""
        for record in list(self.history):
            if record.state == "candidate":
                self.history.mark(record.revision, "rolled back", "the process ended before it was known to be good")

    async def add(self, state: State, text: str, trigger: str, actor: str) -> Record:
        """Add a revision."""
        file_hash = await self.file_hash()
        record = self.history.add(text, state, at_ns=self._clock(), actor=actor, trigger=trigger, file_hash=file_hash)
        await self.write()
        return record

    async def mark(self, revision: int, state: State, problem: str | None = None) -> None:
        """Change the state of a revision, unless it was removed meanwhile."""
        with contextlib.suppress(RevisionUnknown):
            self.history.mark(revision, state, problem)
        await self.write()

    async def write(self) -> None:
        """Write what has changed, as far as the disk takes it within ``WRITE_S``."""
        with contextlib.suppress(OSError):  # others wait for the thread already, and will write this too
            writing = asyncio.get_running_loop().run_in_executor(self._thread, self.history.write)
            await asyncio.wait({writing}, timeout=WRITE_S)

    async def file_hash(self) -> str | None:
        """The hash of the configuration file as it is now; None where it cannot be read."""
        with contextlib.suppress(OSError):  # also of a file system that hangs
            return await FILES.run_once((self, "hash"), self._source.hash)
        return None

    def last_good(self, running: str) -> Record:
        """The newest revision that is good and has another text than the one with this hash, which runs. Raises
        NothingToRollBackTo.
        """
        judged = {running}
        for record in self.history:
            if record.hash not in judged and record.state == "good":
                return record
            # the newest verdict on a text counts: one that was rolled back is no target, however good it once was
            judged.add(record.hash)
        raise NothingToRollBackTo
