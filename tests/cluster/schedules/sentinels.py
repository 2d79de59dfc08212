"""An engine with a replica and three Sentinels, which agree on another master when theirs is gone."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.cluster.redis_server import Ended, RedisServer, free_port
from tests.cluster.schedules.engines import Engine
from tests.cluster.schedules.wire import Wire

NAME = "icws"
_HOST = "127.0.0.1"


class Sentinels(Engine):
    """Nodes connect without wires: the Sentinels tell them where the master is."""

    def __init__(self, folder: Path, program: str = "redis-server") -> None:
        self.wires: dict[str, Wire] = {}
        self.losses = 0
        self._folder = folder
        self._program = program
        self._servers: dict[int, RedisServer] = {}
        self._sentinels: dict[int, RedisServer] = {}

    @property
    def url(self) -> str:
        """See Engine."""
        return f"sentinel://{','.join(f'{_HOST}:{port}' for port in self._sentinels)}/{NAME}"

    @property
    def server(self) -> RedisServer:
        """The first one, whatever it is now."""
        return next(iter(self._servers.values()))

    @asynccontextmanager
    async def serving(self, folders: Iterable[Path]) -> AsyncIterator[None]:
        """See Engine."""
        try:
            first = self._start(self._servers, "first")
            self._start(self._servers, "second", "--replicaof", _HOST, str(first))
            for number in range(3):
                self._start(self._sentinels, f"sentinel{number}", watched=first)
            await self._know_each_other()
            yield
        finally:
            for each in (*self._sentinels.values(), *self._servers.values()):
                each.kill()

    async def fail_over(self, *, by_pause: bool) -> None:
        """Kill the master, or let it stand still, and bring it back when the Sentinels have another: as a replica."""
        before = await self._master()
        server = self._servers[before]
        if by_pause:
            server.stop()
        else:
            server.kill()
        while await self._master() == before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        if by_pause:
            server.go_on()
        else:
            await asyncio.to_thread(server.start)

    async def _know_each_other(self) -> None:
        for port in self._sentinels:
            async with Redis(port=port) as client:
                while True:
                    known: dict[str, Any] = await client.sentinel_master(NAME)  # type: ignore[assignment]
                    if known["num-slaves"] == 1 and known["num-other-sentinels"] == len(self._sentinels) - 1:
                        break
                    await asyncio.sleep(0.05)

    async def _master(self) -> int:
        """As most Sentinels have it."""
        found = []
        for port in self._sentinels:
            with suppress(RedisError):
                async with Redis(port=port) as client:
                    address: Any = await client.sentinel_get_master_addr_by_name(NAME)
                    found.append(int(address[1]))
        return max(found, key=found.count)

    def _start(self, into: dict[int, RedisServer], name: str, *options: str, watched: int | None = None) -> int:
        """Whoever takes a port in the moment before makes the server end, and others are tried."""
        folder = self._folder / name
        folder.mkdir()
        for _ in range(10):
            port = free_port()
            at = ("--port", str(port), "--bind", _HOST)
            if watched is None:
                server = RedisServer(folder, *options, *at, program=self._program)
            else:
                file = folder / "sentinel.conf"
                file.write_text(
                    f"sentinel monitor {NAME} {_HOST} {watched} 2\nsentinel down-after-milliseconds {NAME} 1000\n"
                    f"sentinel failover-timeout {NAME} 5000\n"
                )
                server = RedisServer(folder, str(file), "--sentinel", *at, is_sentinel=True, program=self._program)
            with suppress(Ended):
                server.start()
                into[port] = server
                return port
        raise AssertionError("no port is free")
