"""The engine of a worker: its supervisor, at a Unix socket."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

from appliance.cluster.engine import Beat, BeatAnswer, ClaimAnswer, NodeRecord, Release
from appliance.cluster.local_engine import frames
from appliance.cluster.local_engine.encoding import methods, read_as
from appliance.errors import EngineAway, GatewayError, Malformed
from appliance.gateway.nodes import Claim, Held, Place

_LOST = "the connection to the supervisor was lost"


class LocalEngine:
    """Implements ``engine.Engine``. All commands share one connection; one that its caller has given up is answered
    into the void.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> None:
        """See Engine."""
        async with self._connecting:
            if self._connection is not None:
                self._connection.abort()
            try:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_unix_connection(_Connection, str(self._path))
            except OSError as error:
                self._connection = None
                raise EngineAway(f"the supervisor cannot be reached: {error.strerror}") from error

    async def beat(self, beat: Beat) -> BeatAnswer:
        """See Engine."""
        return cast("BeatAnswer", await self._ask("beat", beat))

    async def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        await self._ask("leave", node, incarnation)

    async def nodes(self) -> Sequence[NodeRecord]:
        """See Engine."""
        return cast("Sequence[NodeRecord]", await self._ask("nodes"))

    async def claim(self, node: str, incarnation: str, claim: Claim, *, now_ns: int) -> ClaimAnswer:
        """See Engine."""
        return cast("ClaimAnswer", await self._ask("claim", node, incarnation, claim, now_ns))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        await self._ask("hold", node, incarnation, held)

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        return cast("Release", await self._ask("release", node, incarnation, place))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        await self._ask("released", node, incarnation, place)

    async def ring(self, message: bytes) -> None:
        """See Engine."""
        await self._ask("ring", message)

    async def listen(self, heard: Callable[[bytes], None]) -> None:
        """See Engine."""
        connection = self._open()
        connection.heard = heard
        await connection.ask("listen", [])
        await connection.lost.wait()
        raise EngineAway(_LOST)

    async def close(self) -> None:
        """See Engine."""
        if self._connection is not None:
            self._connection.abort()

    async def _ask(self, name: str, *arguments: Any) -> Any:
        """Raises EngineAway."""
        method = methods()[name]
        try:
            return read_as(method.answer[1], await self._open().ask(name, method.write(arguments)))
        except Malformed as error:
            raise EngineAway(str(error)) from error

    def _open(self) -> "_Connection":
        if self._connection is None or self._connection.lost.is_set():
            raise EngineAway(_LOST)
        return self._connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.heard: Callable[[bytes], None] = lambda _: None
        self._numbers = count(frames.RUNG + 1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._frames = frames.Frames()
        self._transport: asyncio.Transport

    async def ask(self, name: str, arguments: list[Any]) -> Any:
        """Raises EngineAway, and Malformed for a request that is too long."""
        number = next(self._numbers)
        self._transport.write(frames.encode(number, name, arguments))
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await answer
        finally:
            del self._waiting[number]

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        for each in self._waiting.values():
            if not each.done():
                each.set_exception(EngineAway(_LOST))

    def data_received(self, data: bytes) -> None:
        try:
            for number, answer, *problem in self._frames.feed(data):
                self._take(number, answer, problem)
        except (GatewayError, ValueError, TypeError):
            self.abort()

    def _take(self, number: int, answer: Any, problem: list[Any]) -> None:
        if number == frames.RUNG:
            self.heard(bytes.fromhex(answer))
            return
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return  # its caller has gone on
        if problem:
            waiting.set_exception(EngineAway(str(problem[0])))
        else:
            waiting.set_result(answer)
