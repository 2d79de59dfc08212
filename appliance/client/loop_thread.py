"""An event loop in a thread, for programs without one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from appliance.client.errors import NotOpen
from appliance.client.owner import Owner
from appliance.client.sessions.session import State

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own; leaving the context ends both, and whatever still runs there."""

    def __init__(self) -> None:
        self._owner = Owner()
        self._loop = asyncio.new_event_loop()
        self._serves = True
        self._turn = threading.Lock()  # held while work is given to the loop, or the loop is ended
        self._thread = threading.Thread(target=self._serve, name="icws-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._serves = False
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the one with the thread: nobody here would ever answer."""
        return self._owner.is_other_process

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it. An exception here, such as KeyboardInterrupt, cancels it.

        Raises NotOpen once the context is left, and RuntimeError in that thread itself, which would wait for itself for
        ever, and in a forked process.
        """
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def next(self, items: AsyncIterator[T]) -> T:
        """The next one, waiting as `run` does. Raises StopIteration at the end."""
        try:
            return self.run(_next(items))
        except StopAsyncIteration:
            raise StopIteration from None

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            self._owner.check()  # before the lock: the fork may have copied it while it was held
        except RuntimeError:
            work.close()
            raise
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("on_change must not use the connection: it is called in the thread that serves it")
        with self._turn:
            if self._serves:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise NotOpen(State.CLOSED.value)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()
        # the Runner has cancelled the remaining tasks and closed the loop


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
