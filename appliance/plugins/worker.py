"""The thread of one plugin, so that a plugin that blocks delays neither the gateway nor other plugins."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

Work = Callable[[], None]


class QueueFull(TimeoutError):
    """As many calls wait for the plugin as may."""


class Worker:
    """Runs calls one after the other in a daemon thread: a plugin that hangs must not keep the process from exiting."""

    def __init__(self, name: str, *, most: int, most_bytes: int) -> None:
        """``most`` calls may wait, with so many bytes."""
        self.most = most
        self.most_bytes = most_bytes
        self._waiting: deque[tuple[Work, int] | None] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"plugin {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """The number of waiting calls."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def put(self, work: Work, size: int = 0, *, anyway: bool = False) -> bool:
        """Run this after everything queued before. ``size`` is the bytes it holds. Returns False if the queue is full,
        unless ``anyway`` is set, and after `end`.

        ``work`` must not raise.
        """
        with self._changed:
            full = len(self._waiting) >= self.most or self._bytes + size > self.most_bytes
            if self._ending or (full and self._waiting and not anyway):
                return False
            self._waiting.append((work, size))
            self._bytes += size
            self._changed.notify()
        return True

    async def run(self, function: Callable[[], T], timeout_s: float, *, anyway: bool = False) -> T:
        """Run this after everything queued before; return its result or raise its exception.

        Raises TimeoutError after ``timeout_s``, counted from now, QueueFull at once if the queue is full, and
        TimeoutError at once after `end`. The function may still run after a time-out: a thread cannot be stopped.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = function()
            except Exception as error:  # raised in the caller
                resolve(_set_exception, error)
            except BaseException as error:  # sys.exit() of a plugin must end neither this thread nor the loop
                resolve(_set_exception, RuntimeError(repr(error)))
            else:
                resolve(_set_result, result)

        def resolve(how: Callable[..., None], what: object) -> None:
            try:
                loop.call_soon_threadsafe(how, answer, what)
            except RuntimeError:
                _log.debug("the loop is closed, nobody waits for this plugin any more")

        if not self.put(work, anyway=anyway):
            raise TimeoutError if self._ending else QueueFull
        return await asyncio.wait_for(answer, timeout_s)

    def end(self) -> None:
        """Accept no more calls; the thread ends after those that wait."""
        with self._changed:
            self._ending = True
            self._waiting.append(None)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                taken = self._waiting.popleft()
                if taken is None:
                    return
                work, size = taken
                self._bytes -= size
            work()
            del work, taken


def _set_result(answer: "asyncio.Future[T]", result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _set_exception(answer: "asyncio.Future[T]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
