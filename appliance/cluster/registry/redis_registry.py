"""Redis or Valkey as the registry. Needs the extra ``cluster``, as ``cluster.redis_engine``."""

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from redis.asyncio import Redis

from appliance.cluster.engine import CLOSING_MS, ENDED_MS, FORGOTTEN_MS, SILENT_MS
from appliance.cluster.redis_answers import answers, info_of, place_key, word
from appliance.cluster.registry import scripts
from appliance.cluster.registry.clients import INCARNATION_CHARS
from appliance.cluster.registry.engine import ATTESTED_MS, GIVER_MS, KNOWN_MS, PAGE, Owner, Page, Suspect
from appliance.gateway.nodes import Holding, Place


class RedisRegistry:
    """Implements ``registry.engine.Registry``."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._write = redis.register_script(scripts.WRITE)
        self._suspects = redis.register_script(scripts.SUSPECTS)
        self._attest = redis.register_script(scripts.ATTEST)
        self._give_up = redis.register_script(scripts.GIVE_UP)
        self._tell = redis.register_script(scripts.TELL)
        self._told = redis.register_script(scripts.TOLD)
        self._returned = redis.register_script(scripts.RETURNED)

    async def write(self, node: str, incarnation: str, changes: Mapping[bytes, bytes | None]) -> bool:
        """See Registry."""
        args: list[str | bytes | int] = [self._prefix, node, incarnation, KNOWN_MS]
        for field, value in changes.items():
            args += [field, value or b""]
        with answers():
            return bool(await self._write([], args))

    async def suspects(self) -> Sequence[Suspect]:
        """See Registry."""
        with answers():
            found = await self._suspects([], [self._prefix, FORGOTTEN_MS])
            return [
                Suspect(
                    name.decode(),
                    incarnation.decode(),
                    silent_ms,
                    info_of(info),
                    bool(is_replaced),
                    cast("Literal['', 'given', 'returned']", word(given, "", "given", "returned")),
                    by.decode(),
                    given_ms,
                    clients,
                    told,
                    bool(attested),
                )
                for (
                    name,
                    incarnation,
                    silent_ms,
                    info,
                    is_replaced,
                    given,
                    by,
                    given_ms,
                    clients,
                    told,
                    attested,
                ) in sorted(found)
            ]

    async def attest(self, node: str, incarnation: str, owner: Owner) -> None:
        """See Registry."""
        with answers():
            await self._attest([], [self._prefix, node, incarnation, owner.incarnation, ATTESTED_MS])

    async def give_up(self, node: str, incarnation: str, owner: Owner, after_ms: int) -> bool:
        """See Registry."""
        with answers():
            args: list[str | int] = [self._prefix, node, incarnation, *owner, after_ms, KNOWN_MS, GIVER_MS]
            return bool(await self._give_up([], args))

    async def clients(self, owner: Owner, start: bytes) -> Page:
        """See Registry."""
        key, _, cursor = (start or b"telling 0").decode().partition(" ")
        with answers():
            answer = await self._redis.hscan(f"{self._prefix}{key}:{owner.node}", int(cursor), count=PAGE)
            after, found = cast("tuple[int, dict[bytes, bytes]]", answer)
            if key == "telling":
                found = {field: _being_told(value)[1] for field, value in found.items()}
        own = {field: value for field, value in found.items() if value.startswith(owner.incarnation.encode())}
        if after:
            return Page(own, f"{key} {after}".encode())
        return Page(own, b"known 0" if key == "telling" else b"")

    async def drop(self, owner: Owner, field: bytes) -> None:
        """See Registry."""
        with answers():
            for key in ("known", "telling"):
                await self._redis.hdel(f"{self._prefix}{key}:{owner.node}", field)

    async def tell(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, earlier_ms: int
    ) -> Holding:
        """See Registry."""
        args: list[str | bytes | int] = [
            self._prefix,
            node,
            incarnation,
            *owner,
            field,
            CLOSING_MS,
            SILENT_MS,
            KNOWN_MS,
            earlier_ms,
        ]
        with answers():
            answer = await self._tell(self._key(place), args)
        return cast("Holding", word(answer, "free", "taken", "unknown"))

    async def told(
        self, node: str, incarnation: str, owner: Owner, field: bytes, place: Place, *, is_told: bool
    ) -> None:
        """See Registry."""
        with answers():
            args: list[str | bytes | int] = [self._prefix, node, incarnation, owner.node, field, int(is_told), KNOWN_MS]
            await self._told(self._key(place), [*args, ENDED_MS])

    async def returned(self, node: str, incarnation: str) -> Mapping[bytes, int]:
        """See Registry."""
        told: dict[bytes, int] = {}
        with answers():
            await self._returned([], [self._prefix, incarnation, KNOWN_MS, node])
            # Those that are being told first: whichever ends meanwhile is among the others then.
            async for field, value in self._redis.hscan_iter(f"{self._prefix}telling:{node}", count=PAGE):
                since_ms, entry = _being_told(value)
                if entry[:INCARNATION_CHARS] == incarnation.encode():
                    told[field] = since_ms
            async for field, value in self._redis.hscan_iter(f"{self._prefix}told:{node}", count=PAGE):
                who, since = value.split(b":", 1)
                if who == incarnation.encode():
                    told[field] = int(since)
        return told

    async def holds(self, incarnation: str, places: Sequence[Place]) -> Sequence[bool]:
        """See Registry."""
        keys: list[bytes | str] = [place_key(self._prefix, each) for each in places]
        with answers():
            held: list[bytes | None] = await self._redis.mget(keys)  # type: ignore[assignment]
        return [(each or b"").split(b":", 3)[::2][:2] == [b"h", incarnation.encode()] for each in held]

    def _key(self, place: Place) -> list[bytes]:
        return [place_key(self._prefix, place)] if place.group else []


def _being_told(value: bytes) -> tuple[int, bytes]:
    """Since when an entry is being told, and the entry. Raises ValueError."""
    _, _, since, entry = value.split(b":", 3)
    return int(since), entry
