"""An engine in memory with faults: each node has its own way to a board."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from appliance.cluster.engine import Beat, BeatAnswer, ClaimAnswer, NodeRecord, Release
from appliance.cluster.local_engine.board import Board
from appliance.errors import EngineAway
from appliance.gateway.nodes import Claim, Held, Place


class MemoryEngine:
    """A node's way to a board. ``is_away``: nothing is answered, at once. ``stalled``: nothing goes on until it is
    cleared. ``lies`` are answers by method. ``is_deaf``: what is rung does not arrive here.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.is_away = False
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

    async def _do(self, name: str, answer: Callable[[], Any]) -> Any:
        self.made.append(name)
        await self._goes_on.wait()
        if self.is_away:
            raise EngineAway("nobody listens there")
        if name in self.lies:
            lie = self.lies[name]
            if isinstance(lie, Exception):
                raise lie
            return lie
        return answer()

    async def connect(self) -> None:
        await self._do("connect", lambda: None)

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self._do("beat", lambda: self.board.beat(beat))

    async def leave(self, node: str, incarnation: str) -> None:
        await self._do("leave", lambda: self.board.leave(node, incarnation))

    async def nodes(self) -> Sequence[NodeRecord]:
        return await self._do("nodes", self.board.nodes)

    async def claim(self, node: str, incarnation: str, claim: Claim, *, now_ns: int) -> ClaimAnswer:
        return await self._do("claim", lambda: self.board.claim(node, incarnation, claim, now_ns))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        await self._do("hold", lambda: self.board.hold(node, incarnation, held))

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        return await self._do("release", lambda: self.board.release(node, incarnation, place))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        await self._do("released", lambda: self.board.released(node, incarnation, place))

    async def ring(self, message: bytes) -> None:
        def pass_on() -> None:
            for heard in list(self.board.listeners):
                heard(message)

        await self._do("ring", pass_on)

    async def listen(self, heard: Callable[[bytes], None]) -> None:
        await self._do("listen", lambda: None)
        self.listening += 1
        mine = lambda message: None if self.is_deaf else heard(message)  # noqa: E731
        self.board.listeners.append(mine)
        try:
            await asyncio.Event().wait()
        finally:
            self.board.listeners.remove(mine)

    async def close(self) -> None:
        pass
