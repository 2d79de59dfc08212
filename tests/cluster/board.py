"""An engine in memory with faults: each node has its own way to a board."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from appliance.cluster.engine import Beat, BeatAnswer, ClaimAnswer, Entry, Held, NodeRecord, Release
from appliance.cluster.limits.levels import Spent
from appliance.cluster.local_engine.board import Board
from appliance.cluster.shared.leases import Entries, Lease, Wanted
from appliance.errors import EngineAway
from appliance.gateway.nodes import Claim, Place


class MemoryRegistry:
    """The registry of such an engine, with the same faults."""

    def __init__(self, engine: "MemoryEngine") -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            registry = self._engine.board.registry
            return await self._engine.do(name, lambda: getattr(registry, name)(*args, **options))

        return call


class MemoryEngine:
    """A node's way to a board. ``is_away``: nothing is answered, at once. ``stalled``: nothing goes on until it is
    cleared. ``lies`` are answers by method. ``is_mute``: commands are made, and their answers are lost.
    ``is_deaf``: what is rung does not arrive here.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.registry = MemoryRegistry(self)
        self.is_away = self.is_mute = False
        self.is_deaf = False
        self.lies: dict[str, Any] = {}
        self.made: list[str] = []
        self.listening = 0
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def stall(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    async def do(self, name: str, answer: Callable[[], Any]) -> Any:
        self.made.append(name)
        await self._goes_on.wait()
        if self.is_away:
            raise EngineAway("nobody listens there")
        if name in self.lies:
            lie = self.lies[name]
            if isinstance(lie, Exception):
                raise lie
            return lie
        found = answer()
        if self.is_mute:
            raise EngineAway("its answer is lost")
        return found

    async def connect(self) -> None:
        await self.do("connect", lambda: None)

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self.do("beat", lambda: self.board.beat(beat))

    async def leave(self, node: str, incarnation: str) -> None:
        await self.do("leave", lambda: self.board.leave(node, incarnation))

    async def nodes(self) -> Sequence[NodeRecord]:
        return await self.do("nodes", self.board.nodes)

    async def claim(
        self, node: str, incarnation: str, claim: Claim, *, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        return await self.do("claim", lambda: self.board.claim(node, incarnation, claim, now_ns, since_ms, entry))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        await self.do("hold", lambda: self.board.hold(node, incarnation, held))

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        return await self.do("release", lambda: self.board.release(node, incarnation, place))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        await self.do("released", lambda: self.board.released(node, incarnation, place))

    async def ring(self, message: bytes) -> None:
        await self.do("ring", lambda: self.board.send("", message))

    async def tell(self, incarnation: str, message: bytes) -> bool:
        return await self.do("tell", lambda: self.board.send(incarnation, message))

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        await self.do("listen", lambda: None)
        self.listening += 1
        mine = lambda message: None if self.is_deaf else heard(message)  # noqa: E731
        self.board.listeners.append(mine)
        self.board.told[incarnation] = lambda message: None if self.is_deaf else told(message)
        try:
            await asyncio.Event().wait()
        finally:
            self.board.listeners.remove(mine)
            self.board.told.pop(incarnation, None)

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        return await self.do("lease", lambda: self.board.leases.lease(incarnation, wanted, self.board.now_ms))

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        def put() -> bool:
            leases, now_ms = self.board.leases, self.board.now_ms
            if not leases.put(incarnation, queue, epoch, number, entry, memory=memory, now_ms=now_ms):
                return False
            for heard in list(self.board.hearers):
                heard(queue)
            return True

        return await self.do("put", put)

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        leases = self.board.leases
        read = lambda: leases.entries(queue, epoch, after, max_bytes=max_bytes, now_ms=self.board.now_ms)  # noqa: E731
        return await self.do("entries", read)

    async def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        return await self.do("spend", lambda: self.board.spend(spent))

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        await self.do("hear", lambda: None)
        mine = lambda queue: None if self.is_deaf else heard(queue)  # noqa: E731
        self.board.hearers.append(mine)
        try:
            await asyncio.Event().wait()
        finally:
            self.board.hearers.remove(mine)

    async def close(self) -> None:
        pass
