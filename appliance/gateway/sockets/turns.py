"""Shares the turns of the event loop between clients: how many frames are handled before others get theirs."""

import asyncio
from typing import Protocol

from appliance.gateway.recording.measurements import Counters

EACH = 16
"""Frames of one client in one turn. With control frames, which cost 25 us each, that is 0.4 ms."""
DIRECT = 32
"""Frames in one turn of clients that did not wait."""
WAITING = 32
"""Frames in one turn of clients that waited. A number apart from ``DIRECT``: clients that send more than they are
served must not delay those that send a frame now and then, whatever their number.
"""


class Worker(Protocol):
    """A connection, as its turns use it."""

    @property
    def has_work(self) -> bool:
        """Whether frames wait that may be handled."""

    def work(self, frames: int) -> int:
        """Handle at most so many frames; returns how many it handled. Never raises."""


class Turns:
    """Serves workers at once while a turn of the loop has room, and the others one after the other in later turns."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._waiting: dict[Worker, None] = {}
        self._left = DIRECT
        self._has_next = False

    def __len__(self) -> int:
        return len(self._waiting)

    def serve(self, worker: Worker) -> None:
        """Let a worker handle its frames, now or in a later turn."""
        if worker in self._waiting:
            return
        if self._left > 0:
            handled = worker.work(min(EACH, self._left))
            self._left -= handled  # not in one step: a worker with TLS serves that of its frames meanwhile
            self._schedule()
        self._keep(worker)

    def later(self, worker: Worker) -> None:
        """Let a worker handle its frames in a later turn, because it is called by one that handles a frame now."""
        self._waiting[worker] = None
        self._schedule()

    def forget(self, worker: Worker) -> None:
        """Serve this worker no more."""
        self._waiting.pop(worker, None)

    def _keep(self, worker: Worker) -> None:
        if worker.has_work:
            self._counters.delayed += 1
            self.later(worker)

    def _schedule(self) -> None:
        if not self._has_next:
            self._has_next = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._has_next = False
        self._left, left = DIRECT, WAITING
        for worker in list(self._waiting):
            if left <= 0:
                break
            if worker in self._waiting:
                del self._waiting[worker]
                left -= worker.work(min(EACH, left))
                self._keep(worker)
        if self._waiting:
            self._schedule()
