"""Asks for the next pages of a long queue together with the one that is due: else each page takes a round trip.

Nobody knows where the next page begins but by the number of messages in the pages before, so that pages ahead are asked
for only where two in a row had as many. Only the plain case is taken from here. Whatever is odd with such a page, and
the end of the queue, is asked for again in its turn, so that nothing of a poll's rules depends on what came early.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from appliance.errors import GatewayError
from appliance.gateway.polling.page import Page

T = TypeVar("T")

AHEAD = 3
"""Pages beside the one that is due. More would keep more replies in memory, of up to ``network.max_reply`` each."""


class PagesAhead(Generic[T]):
    """The pages of one queue that were asked for ahead. ``ask`` gets the page from a nonce on; ``spare`` returns how
    many polls take no turn from anybody.
    """

    def __init__(self, ask: Callable[[int], Coroutine[Any, Any, T]], spare: Callable[[], float]) -> None:
        self._ask = ask
        self._spare = spare
        self._asked: dict[int, asyncio.Task[T]] = {}
        self._size = 0
        self._is_long = False

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, nonce: int) -> bool:
        """Whether the page from a nonce on was asked for."""
        return nonce in self._asked

    def learn(self, page: Page) -> None:
        """A page was taken: how many messages one has, and whether more wait than it had."""
        size = len(page.messages)
        self._is_long = not page.is_end_of_queue and size == self._size
        if not page.is_end_of_queue:
            self._size = size

    def begin(self, nonce: int) -> None:
        """The page from ``nonce`` on is due. Ask for those behind it, and forget all others."""
        if not self._is_long and not self._asked:
            return
        behind = [nonce + page * self._size for page in range(1, AHEAD + 1)] if self._is_long else []
        for other in self._asked.keys() - {nonce, *behind}:
            self._asked.pop(other).cancel()
        missing = [ahead for ahead in behind if ahead not in self._asked]
        room = self._spare() - len(self._asked) if missing else 0.0
        for place, ahead in enumerate(missing):
            if place < room:
                task = self._asked[ahead] = asyncio.get_running_loop().create_task(self._ask(ahead))
                task.add_done_callback(_look_at)

    async def take(self, nonce: int) -> T | None:
        """The page from a nonce on; None where it was not asked for, or in vain."""
        task = self._asked.pop(nonce, None)
        if task is None:
            return None
        try:
            return await task
        except GatewayError:
            return None

    def forget(self) -> None:
        """Want none of the pages any more."""
        for task in self._asked.values():
            task.cancel()
        self._asked.clear()


def _look_at(task: "asyncio.Task[T]") -> None:
    """Whatever came of a page that nobody takes is nobody's trouble."""
    if not task.cancelled():
        task.exception()
