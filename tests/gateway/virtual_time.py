"""An event loop whose time moves on at once when nobody has anything to do: runs are short and repeatable."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Does not wait: the time of its loop moves on instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        if not found:
            self.loop.now += timeout or 0.0
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """For work without sockets and threads."""

    now = 0.0

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor, func, *args):
        """In the loop, whatever threads it is for, so that no time can pass meanwhile."""
        return super().run_in_executor(_Inline(), func, *args)


class _Inline(ThreadPoolExecutor):
    """Does the work at once."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test on such a loop."""

    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
