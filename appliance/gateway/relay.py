"""The calls of one client on their way to the IC: first in, first out, one at a time.

The next call is submitted when the one before was answered. The IC does not keep the order of calls that are under way
together, and canisters close a client whose sequence numbers come out of order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from appliance.crypto import Request
from appliance.errors import RelayQueueFull
from appliance.gateway.tasks import Tasks
from appliance.protocol.events import Call


class RelayQueue:
    """Waiting calls, and the task that relays them, which exists only while there are any: an idle client has none.

    ``relay`` makes one call, given its size in bytes and the time it was queued (ns since 1970), and raises if it
    fails. ``fail`` gets the exception; the calls that still wait are dropped, since the canister would refuse them as
    out of order. ``limit`` bounds the calls that wait, ``limit_bytes`` their bytes together.
    """

    __slots__ = ("_bytes", "_fail", "_limit", "_limit_bytes", "_relay", "_task", "_tasks", "_waiting")

    def __init__(
        self,
        relay: Callable[[Request | Call, int, int], Awaitable[None]],
        fail: Callable[[Exception], None],
        *,
        limit: int,
        limit_bytes: int,
        tasks: Tasks,
    ) -> None:
        self._relay = relay
        self._fail = fail
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._tasks = tasks
        self._waiting: deque[tuple[Request | Call, int, int]] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, call: Request | Call, now_ns: int) -> None:
        """Relay a call after all earlier ones. Raises RelayQueueFull."""
        if len(self._waiting) >= self._limit:
            raise RelayQueueFull(self._limit)
        size = len(call.arg if isinstance(call, Call) else call.body)
        # An empty queue takes a call of any size: one above limit_bytes could otherwise never be relayed.
        if self._waiting and self._bytes + size > self._limit_bytes:
            raise RelayQueueFull(self._limit_bytes, "bytes")
        self._waiting.append((call, size, now_ns))
        self._bytes += size
        if self._task is None:
            self._task = self._tasks.start(self._run())

    def drop(self) -> None:
        """Drop the waiting calls. A call that is under way goes on."""
        self._waiting.clear()
        self._bytes = 0

    async def settled(self) -> None:
        """Wait until no call is under way."""
        # In a loop: a call may be put, and a new task started, between the end of the task and our turn.
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while self._waiting:
                call, size, since_ns = self._waiting.popleft()
                self._bytes -= size
                await self._relay(call, size, since_ns)
        except Exception as error:  # whatever it is, it ends this client and no other
            self.drop()
            self._fail(error)
        finally:
            self._task = None
