"""Redis or Valkey as the engine of a cluster. Needs the extra ``cluster``; the only module that imports its client."""

import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from appliance.cluster import scripts
from appliance.cluster.engine import (
    CLOSING_MS,
    DEAD_MS,
    ENDED_MS,
    FORGOTTEN_MS,
    HELD_MS,
    LATE_MS,
    MAX_CLAIM_MS,
    SILENT_MS,
    Beat,
    BeatAnswer,
    ClaimAnswer,
    Entry,
    Facts,
    GivenUp,
    Held,
    Joined,
    NameHeld,
    NodeRecord,
    OtherFacts,
    Release,
)
from appliance.cluster.limits.levels import Spent
from appliance.cluster.limits.redis_levels import RedisLevels
from appliance.cluster.redis_answers import answers, info_of, joined, place_key, word
from appliance.cluster.registry.engine import KNOWN_MS, PAST
from appliance.cluster.registry.redis_registry import RedisRegistry
from appliance.cluster.shared.leases import Entries, Lease, Wanted
from appliance.cluster.shared.redis_leases import RedisLeases
from appliance.cluster.shared.wire import Address, Login
from appliance.config.cluster import Cluster
from appliance.config.fields.engine_url import EngineUrl, parse_engine_url
from appliance.errors import EngineAway, EngineUnsuitable
from appliance.gateway.nodes import Claim, Place

MAX_REPLY = 4 * 1024**2
"""Bytes of one answer of the engine, or of one message that it passes on. With more its connection is closed before
they are read: what it sends must not take the memory of the gateway."""
VITAL = 8
"""Connections beyond ``cluster.commands``: for heartbeats and the doorbell, whatever else is under way."""
_LINE_BYTES = 64
"""That a line counts for beside its characters: about what an element of an answer takes in memory."""


class RedisEngine:
    """Implements ``engine.Engine``. ``read_password`` is called for each new connection, and raises OSError."""

    def __init__(self, settings: Cluster, read_password: Callable[[], Awaitable[str | None]]) -> None:
        url = parse_engine_url(settings.url or "")
        self._prefix = f"icws:{settings.name}:"
        self._doubt = self._prefix + "doubt"
        self._server: bytes | None = None
        credentials = _Credentials(url.user, read_password)
        self._sentinel, self._redis = _client(url, settings, credentials)
        self._beat = self._redis.register_script(scripts.BEAT)
        self._leave = self._redis.register_script(scripts.LEAVE)
        self._nodes = self._redis.register_script(scripts.NODES)
        self._claim = self._redis.register_script(scripts.CLAIM)
        self._hold = self._redis.register_script(scripts.HOLD)
        self._release = self._redis.register_script(scripts.RELEASE)
        self._released = self._redis.register_script(scripts.RELEASED)
        self.registry = RedisRegistry(self._redis, self._prefix)
        self._levels = RedisLevels(self._redis, self._prefix)
        self._leases = RedisLeases(self._redis, self._prefix, _login(url, settings, credentials, self._sentinel))

    async def connect(self) -> None:
        """See Engine."""
        with answers():
            info = await self._redis.info()
        check_suitable(info)

    async def beat(self, beat: Beat) -> BeatAnswer:
        """See Engine."""
        own = json.dumps(beat.facts)
        args: list[str | int] = [
            own,
            beat.node,
            beat.incarnation,
            beat.value,
            beat.replaces,
            json.dumps(asdict(beat.info)),
            DEAD_MS,
            beat.doubt_ms,
            MAX_CLAIM_MS,
            FORGOTTEN_MS,
            self._prefix,
            int(beat.is_confirmed),
            PAST,
        ]
        with answers():
            answer = await self._beat(self._keys_of(beat.node), args)
            match answer:
                case [b"joined", int(was_known), int(engine_ms), bytes(server)]:
                    is_same, self._server = self._server in {None, server}, server
                    return Joined(bool(was_known) and is_same, engine_ms)
                case [b"given"]:
                    return GivenUp()
                case [b"facts", bytes(theirs)]:
                    return OtherFacts(Facts(*json.loads(theirs)))
                case [b"held", bytes(value)]:
                    return NameHeld(value.decode())
        raise EngineAway("its answer to a heartbeat is none")

    async def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        with answers():
            await self._leave(self._keys_of(node), [node, incarnation])

    async def nodes(self) -> Sequence[NodeRecord]:
        """See Engine."""
        with answers():
            found = await self._nodes([self._prefix + "nodes", self._doubt], [FORGOTTEN_MS, SILENT_MS, MAX_CLAIM_MS])
            return [
                NodeRecord(name.decode(), incarnation.decode(), silent_ms, info_of(info))
                for name, incarnation, silent_ms, info in sorted(found)
            ]

    async def claim(
        self, node: str, incarnation: str, claim: Claim, *, now_ns: int, since_ms: int, entry: Entry | None = None
    ) -> ClaimAnswer:
        """See Engine."""
        left_ms = min(max(1, -(-(claim.expires_ns - now_ns) // 10**6)), MAX_CLAIM_MS) if claim.request_id else 0
        keys: list[bytes | str] = [self._opening(claim), self._place(claim.place), self._doubt]
        nodes = self._prefix + "node:" if claim.place.group else ""
        args = [
            node,
            incarnation,
            left_ms,
            since_ms,
            HELD_MS,
            nodes,
            self._prefix,
            *(entry or ("", "")),
            KNOWN_MS,
            LATE_MS,
        ]
        with answers():
            answer = await self._claim(keys, args)
        return cast("ClaimAnswer", word(answer, "granted", "doubted", "used", "leaving", "given"))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        if held:
            with answers():
                keys = [self._place(each.place) for each in held]
                await self._hold(keys, [node, incarnation, HELD_MS, self._prefix, *(each.since_ms for each in held)])

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        with answers():
            answer = await self._release(
                [self._place(place)],
                [node, CLOSING_MS, incarnation, self._prefix + "node:", self._prefix, SILENT_MS],
            )
        return cast("Release", word(answer, "free", "taken", "unknown"))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        with answers():
            await self._released([self._place(place)], [node, incarnation, ENDED_MS])

    async def ring(self, message: bytes) -> None:
        """See Engine."""
        with answers():
            await self._redis.publish(self._prefix + "bell", message)

    async def tell(self, incarnation: str, message: bytes) -> bool:
        """See Engine."""
        with answers():
            return bool(await self._redis.publish(f"{self._prefix}to:{incarnation}", message))

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        """See Engine."""
        bell, own = f"{self._prefix}bell".encode(), f"{self._prefix}to:{incarnation}".encode()
        with answers():
            async with self._redis.pubsub() as channels:
                await channels.subscribe(bell, own)
                async for message in channels.listen():
                    if message["type"] == "message":
                        (heard if message["channel"] == bell else told)(message["data"])

    async def lease(self, incarnation: str, wanted: Sequence[Wanted]) -> Sequence[Lease]:
        """See Leases."""
        with answers():
            return await self._leases.lease(incarnation, wanted)

    async def put(self, incarnation: str, queue: bytes, epoch: str, number: int, entry: bytes, *, memory: int) -> bool:
        """See Leases."""
        with answers():
            return await self._leases.put(incarnation, queue, epoch, number, entry, memory=memory)

    async def entries(self, queue: bytes, epoch: str, after: int, *, max_bytes: int) -> Entries:
        """See Leases."""
        with answers():
            return await self._leases.entries(queue, epoch, after, max_bytes=max_bytes)

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        """See Leases."""
        with answers():
            await self._leases.hear(heard)

    async def spend(self, spent: Sequence[Spent]) -> Sequence[float]:
        """See Levels."""
        with answers():
            return await self._levels.spend(spent)

    async def close(self) -> None:
        """See Engine."""
        self._leases.close()
        for client in (self._redis, *(self._sentinel.sentinels if self._sentinel is not None else ())):
            await client.aclose()
            await client.connection_pool.disconnect()

    def _keys_of(self, node: str) -> list[str]:
        return [self._prefix + "facts", f"{self._prefix}node:{node}", self._prefix + "nodes", self._doubt]

    def _opening(self, claim: Claim) -> bytes:
        return b"%sopening:%s" % (
            self._prefix.encode(),
            joined(claim.place.canister_id, claim.client_key, claim.request_id),
        )

    def _place(self, place: Place) -> bytes:
        return place_key(self._prefix, place)


class BoundedParser(_AsyncRESP2Parser):
    """Reads no more than ``MAX_REPLY`` bytes for an answer, whatever lengths it announces."""

    _left = MAX_REPLY

    async def read_response(self, disable_decoding: bool = False) -> Any:
        """The next answer. Raises ConnectionError for one that is too long."""
        self._left = MAX_REPLY
        return await super().read_response(disable_decoding)

    async def _read(self, length: int) -> bytes:
        self._take(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        line = await super()._readline()
        self._take(len(line) + _LINE_BYTES)
        return line

    def _take(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise RedisConnectionError(f"it sends more than {MAX_REPLY} bytes at once")


class _Credentials(CredentialProvider):
    """The user and the password, read for each connection: either may be changed while the gateway runs."""

    def __init__(self, user: str | None, read_password: Callable[[], Awaitable[str | None]]) -> None:
        self._user = user
        self._read_password = read_password

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        password = await self._read_password() or ""
        return (password,) if self._user is None else (self._user, password)


def _client(url: EngineUrl, settings: Cluster, credentials: CredentialProvider) -> tuple[Sentinel | None, Redis]:
    options: dict[str, Any] = {
        "db": url.database,
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.timeout,
        "retry": Retry(NoBackoff(), 0),  # by the node: what failed may have been done
        "protocol": 2,
        "parser_class": BoundedParser,
        "client_name": "icws",
    }
    if url.user is not None or settings.password_file is not None:
        options["credential_provider"] = credentials
    if url.is_tls:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        options |= {"ssl_ca_certs": str(settings.ca)} if settings.ca is not None else {}
    limit = settings.commands + VITAL
    if url.master is not None:
        not_theirs = ("db", "credential_provider", "parser_class")
        own = {key: value for key, value in options.items() if key not in not_theirs}
        sentinel: Sentinel = Sentinel(  # type: ignore[no-untyped-call]
            [(host.host, host.port) for host in url.hosts],
            sentinel_kwargs={**own, "ssl": url.is_tls},
            **options,
            ssl=url.is_tls,
        )
        for each in sentinel.sentinels:
            each.connection_pool.connection_kwargs["parser_class"] = BoundedParser
        return sentinel, sentinel.master_for(url.master, max_connections=limit)
    kind: type[Connection] | type[UnixDomainSocketConnection] = SSLConnection if url.is_tls else Connection
    if url.path is not None:
        kind, options["path"] = UnixDomainSocketConnection, str(url.path)
    else:
        options |= {"host": url.hosts[0].host, "port": url.hosts[0].port}
    return None, Redis.from_pool(ConnectionPool(connection_class=kind, max_connections=limit, **options))


def _login(url: EngineUrl, settings: Cluster, credentials: _Credentials, sentinel: Sentinel | None) -> Login:
    """How a connection of our own is made, to where those of the client are."""

    async def find() -> Address:
        if sentinel is not None:
            host, port = await sentinel.discover_master(cast("str", url.master))
            return Address(str(host), int(port))
        return Address(path=url.path) if url.path is not None else Address(url.hosts[0].host, url.hosts[0].port)

    async def credentials_now() -> tuple[str, ...] | None:
        if url.user is None and settings.password_file is None:
            return None
        return await credentials.get_credentials_async()

    tls = ssl.create_default_context(cafile=settings.ca) if url.is_tls else None
    return Login(find, credentials_now, url.database, settings.timeout, tls)


def check_suitable(info: dict[str, Any]) -> None:
    """What the server says of itself (INFO). Raises EngineUnsuitable."""
    mode, policy = info.get("redis_mode", "standalone"), info.get("maxmemory_policy", "noeviction")
    if mode == "cluster":
        raise EngineUnsuitable(
            "it is a node of Redis Cluster, where one step cannot touch several keys; use one server, or one with "
            "Sentinels"
        )
    if mode == "sentinel":
        raise EngineUnsuitable("it is a Sentinel; write sentinel://HOST:PORT/NAME in cluster.url")
    if policy != "noeviction":
        raise EngineUnsuitable(
            f"its maxmemory-policy is {policy}, so it may forget claims; set it to noeviction, or give the cluster a "
            "server of its own"
        )
