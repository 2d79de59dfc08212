"""Engines that can be hurt: a Redis or a Valkey behind a wire for each node."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.cluster.redis_server import RedisServer
from tests.cluster.schedules.wire import Wire, to_unix

LATE_S = 0.2
"""How late a slow engine's answers are, and the questions: ten times ``cluster.claim_timeout``, and less than
``cluster.timeout``."""


class Engine(ABC):
    """``wires`` are the ways of nodes to it, by their names. ``losses`` counts how often it has lost all it held."""

    wires: dict[str, Wire]
    losses: int

    @property
    @abstractmethod
    def url(self) -> str:
        """``cluster.url`` of the nodes."""

    @property
    @abstractmethod
    def server(self) -> RedisServer:
        """The process."""

    @abstractmethod
    def serving(self, folders: Iterable[Path]) -> AbstractAsyncContextManager[None]:
        """Run until the block is left. ``folders`` are those that the nodes run in."""

    async def command(self, *words: str) -> None:
        """Say something to the server, not over a wire."""
        async with Redis.from_url(self.server.url) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def holder(self) -> str | None:
        """The node that asks a canister for all, if there is one."""
        async with Redis.from_url(self.server.url) as client:
            leases = [each async for each in client.scan_iter("icws:main:poll:*", _type="hash")]
            asking: Any = await client.hget(min(leases), "holder") if leases else None
            if asking is not None:
                async for key in client.scan_iter("icws:main:node:*"):
                    if (await client.get(key) or b"").startswith(asking):
                        return str(key.decode().rpartition(":")[2])
        return None

    async def flush(self) -> None:
        """Let it lose all it holds."""
        self.losses += 1
        await self.command("FLUSHALL")

    async def start_again(self) -> None:
        """After it was killed, with nothing that it held."""
        self.losses += 1
        await asyncio.to_thread(self.server.start)


class OneServer(Engine):
    """One server. Each node has a wire to it, in its own folder."""

    def __init__(self, folder: Path, program: str) -> None:
        self.wires = {}
        self.losses = 0
        self._server = RedisServer(folder, program=program)

    @property
    def server(self) -> RedisServer:
        """See Engine."""
        return self._server

    @property
    def url(self) -> str:
        """See Engine."""
        return "unix:///proc/self/cwd/engine.sock"

    @asynccontextmanager
    async def serving(self, folders: Iterable[Path]) -> AsyncIterator[None]:
        """See Engine."""
        self.server.start()
        try:
            async with AsyncExitStack() as stack:
                for folder in folders:
                    wire = Wire(folder / "engine.sock", to_unix(self.server.path))
                    self.wires[folder.name] = wire
                    await stack.enter_async_context(wire.serving())
                yield
        finally:
            self.server.kill()
