"""An event loop whose time the test sets: no timer depends on how fast the machine is."""

import asyncio
from collections.abc import Awaitable, Callable


class ClockLoop(asyncio.SelectorEventLoop):
    """Its time stands still until ``advance``. Sockets work as on any loop."""

    now = 1000.0

    def time(self) -> float:
        return self.now


async def advance(seconds: float) -> None:
    """Let time pass and every timer that is due then run."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.now += seconds
    for _ in range(4):
        await asyncio.sleep(0)


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test on such a loop."""

    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        runner.run(main())
