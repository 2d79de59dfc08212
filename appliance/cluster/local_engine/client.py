"""The engine of a worker: its supervisor, at a Unix socket."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

from appliance.cluster.engine import Beat, BeatAnswer, ClaimAnswer, Entry, Held, NodeRecord, Release
from appliance.cluster.limits.levels import Spent
from appliance.cluster.local_engine import frames
from appliance.cluster.local_engine.encoding import methods, read_as
from appliance.cluster.registry.engine import Owner, Page, Suspect
from appliance.cluster.shared.leases import Entries, Lease, Wanted
from appliance.errors import EngineAway, GatewayError, Malformed
from appliance.gateway.nodes import Claim, Holding, Place

_LOST = "the connection to the supervisor was lost"


class LocalEngine:
    """Implements ``engine.Engine``. All commands share one connection; one that its caller has given up is answered
    into the void.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self.registry = LocalRegistry(self)

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
        return cast("BeatAnswer", await self.ask("beat", beat))

    async def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        await self.ask("leave", node, incarnation)

    async def nodes(self) -> Sequence[NodeRecord]:
        """See Engine."""
        return cast("Sequence[NodeRecord]", await self.ask("nodes"))

    async def claim(
        self, node: str, incarnation: str, claim: Claim, *, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        """See Engine."""
        return cast("ClaimAnswer", await self.ask("claim", node, incarnation, claim, now_ns, since_ms, entry))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        await self.ask("hold", node, incarnation, held)

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        return cast("Release", await self.ask("release", node, incarnation, place))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        await self.ask("released", node, incarnation, place)

    async def ring(self, message: bytes) -> None:
        """See Engine."""
        await self.ask("ring", message)

    async def tell(self, incarnation: str, message: bytes) -> bool:
        """See Engine."""
        return cast("bool", await self.ask("tell", incarnation, message))

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        """See Engine."""
        await self._pass_on({frames.RUNG: heard, frames.TOLD: told}, "listen", [incarnation])

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        """See Leases."""
        return cast("Sequence[Lease]", await self.ask("lease", incarnation, wanted))

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        """See Leases."""
        return cast("bool", await self.ask("put", incarnation, queue, epoch, number, entry, memory))

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        """See Leases."""
        return cast("Entries", await self.ask("entries", queue, epoch, after, max_bytes))

    async def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        """See Levels."""
        return cast("Sequence[float]", await self.ask("spend", spent))

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        """See Leases."""
        await self._pass_on({frames.HEARD: heard}, "hear", [])

    async def _pass_on(self, to: dict[int, Callable[[bytes], None]], name: str, arguments: list[Any]) -> None:
        connection = self._open()
        connection.heard |= to
        await connection.ask(name, arguments)
        await connection.lost.wait()
        raise EngineAway(_LOST)

    async def close(self) -> None:
        """See Engine."""
        if self._connection is not None:
            self._connection.abort()

    async def ask(self, name: str, *arguments: Any) -> Any:
        """One method, by its name in ``encoding.METHODS``. Raises EngineAway."""
        method = methods()[name]
        try:
            return read_as(method.answer[1], await self._open().ask(name, method.write(arguments)))
        except Malformed as error:
            raise EngineAway(str(error)) from error

    def _open(self) -> "_Connection":
        if self._connection is None or self._connection.lost.is_set():
            raise EngineAway(_LOST)
        return self._connection


class LocalRegistry:
    """Implements ``registry.engine.Registry``."""

    def __init__(self, engine: LocalEngine) -> None:
        self._ask = engine.ask

    async def write(self, node: str, incarnation: str, changes: Mapping[bytes, bytes | None]) -> bool:
        """See Registry."""
        return cast("bool", await self._ask("registry.write", node, incarnation, changes))

    async def suspects(self) -> Sequence[Suspect]:
        """See Registry."""
        return cast("Sequence[Suspect]", await self._ask("registry.suspects"))

    async def attest(self, node: str, incarnation: str, owner: Owner) -> None:
        """See Registry."""
        await self._ask("registry.attest", node, incarnation, owner)

    async def give_up(self, node: str, incarnation: str, owner: Owner, after_ms: int) -> bool:
        """See Registry."""
        return cast("bool", await self._ask("registry.give_up", node, incarnation, owner, after_ms))

    async def clients(self, owner: Owner, start: bytes) -> Page:
        """See Registry."""
        return cast("Page", await self._ask("registry.clients", owner, start))

    async def drop(self, owner: Owner, field: bytes) -> None:
        """See Registry."""
        await self._ask("registry.drop", owner, field)

    async def tell(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, earlier_ms: int
    ) -> Holding:
        """See Registry."""
        return cast("Holding", await self._ask("registry.tell", node, incarnation, owner, field, place, earlier_ms))

    async def told(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, is_told: bool
    ) -> None:
        """See Registry."""
        await self._ask("registry.told", node, incarnation, owner, field, place, is_told)

    async def returned(self, node: str, incarnation: str) -> Mapping[bytes, int]:
        """See Registry."""
        return cast("Mapping[bytes, int]", await self._ask("registry.returned", node, incarnation))

    async def holds(self, incarnation: str, places: Sequence[Place]) -> Sequence[bool]:
        """See Registry."""
        return cast("Sequence[bool]", await self._ask("registry.holds", incarnation, places))


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.heard: dict[int, Callable[[bytes], None]] = {}
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
        if number <= frames.RUNG:
            if (heard := self.heard.get(number)) is not None:
                heard(bytes.fromhex(answer))
            return
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return  # its caller has gone on
        if problem:
            waiting.set_exception(EngineAway(str(problem[0])))
        else:
            waiting.set_result(answer)
