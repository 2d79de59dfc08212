"""Leases and entries at Redis. What goes wrong there is raised as it comes; ``redis_engine`` makes EngineAway of it."""

from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from appliance.cluster.shared.leases import ENTRY_MS, LEASE_MS, Entries, Lease, Wanted
from appliance.cluster.shared.scripts import ENTRIES, LEASE, PUT
from appliance.cluster.shared.wire import Login, Reads, digest_of, hear

_DIGEST = digest_of(ENTRIES)


class RedisLeases:
    """Implements ``leases.Leases`` but for its errors: raises also ValueError and TypeError for what is no answer."""

    def __init__(self, redis: Redis, prefix: str, login: Login) -> None:
        self._login = login
        self._reads = Reads(login)
        self._prefix = prefix.encode()
        self._channel = self._prefix + b"polls"
        self._lease = redis.register_script(LEASE)
        self._put = redis.register_script(PUT)

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        """See Leases."""
        keys = [key for each in wanted for key in (self._key(each.queue), b"%sasking:%s" % (self._prefix, each.queue))]
        args: list[str | int] = [incarnation, LEASE_MS]
        for each in wanted:
            args += (each.epoch, each.mode)
        found = await self._lease(keys, args)
        leases = [Lease(holder.decode(), _epoch(epoch), int(last), int(nodes)) for holder, epoch, last, nodes in found]
        if len(leases) != len(wanted):
            raise ValueError("its answer is not about what it was asked")
        return leases

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        """See Leases."""
        key = self._key(queue)
        keys = [key, b"%s:%s:%d" % (key, epoch.encode(), number), self._prefix + b"log", self._prefix + b"bytes"]
        args: list[bytes | str | int] = [incarnation, epoch, number, entry, LEASE_MS, ENTRY_MS, memory]
        args += (self._channel, queue)
        return bool(await self._put(keys, args))

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        """See Leases."""
        key = self._prefix + b"poll:" + queue
        found, last, first, *entries = await self._reads.script(ENTRIES, _DIGEST, key, epoch, after, max_bytes)
        for each in entries:
            if not isinstance(each, bytes):
                raise TypeError("what it has is no entry")
        return Entries(_epoch(found), int(last), int(first), tuple(entries))

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        """See Leases."""
        await hear(self._login, self._channel, heard)

    def close(self) -> None:
        """Close the connections that are its own."""
        self._reads.close()

    def _key(self, queue: bytes) -> bytes:
        return b"%spoll:%s" % (self._prefix, queue)


def _epoch(epoch: bytes) -> str:
    """Raises ValueError."""
    return bytes.fromhex(epoch.decode()).hex()
