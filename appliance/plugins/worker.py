"""The thread of one plugin, so that a plugin that blocks holds up nobody else."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_WAITING = 10_000
"""Calls that may wait for a plugin."""
MAX_WAITING_BYTES = 16 * 1024**2
"""What they may keep in memory together."""

Work = Callable[[], None]


class Worker:
    """Runs what it is given, one after the other, in a thread that does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._waiting: deque[tuple[Work, int] | None] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"plugin {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def put(self, work: Work, size: int = 0, *, anyway: bool = False) -> bool:
        """Run this after all that was put before. ``size`` is the bytes it keeps. False if too much waits already, and
        it is not wanted ``anyway``, or after the end.

        ``work`` must not raise.
        """
        with self._changed:
            full = len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES
            if self._ending or (full and self._waiting and not anyway):
                return False
            self._waiting.append((work, size))
            self._bytes += size
            self._changed.notify()
        return True

    async def ask(self, question: Callable[[], T], timeout_s: float, *, anyway: bool = False) -> T:
        """Run this after all that was put before, and return what it returns or raise what it raises.

        Raises TimeoutError after ``timeout_s``, also where it waits in vain for its turn; it may still run then.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = question()
            except Exception as error:  # it belongs to who asks
                tell(_fail, error)
            except BaseException as error:  # sys.exit() of a plugin must end neither this thread nor the loop
                tell(_fail, RuntimeError(repr(error)))
            else:
                tell(_answer, result)

        def tell(how: Callable[..., None], what: object) -> None:
            try:
                loop.call_soon_threadsafe(how, answer, what)
            except RuntimeError:
                _log.debug("the loop is closed, nobody waits for this plugin any more")

        if not self.put(work, anyway=anyway):
            raise TimeoutError
        return await asyncio.wait_for(answer, timeout_s)

    def end(self) -> None:
        """Take nothing more; the thread ends when it has done what waits."""
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


def _answer(answer: "asyncio.Future[T]", result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[T]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
