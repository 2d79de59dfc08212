"""Redis or Valkey as the engine of a cluster. Needs the extra ``cluster``; the only module that imports its client."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, cast

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from appliance.cluster import scripts
from appliance.cluster.engine import (
    CLOSING_MS,
    DEAD_MS,
    FORGOTTEN_MS,
    HELD_MS,
    MAX_CLAIM_MS,
    SILENT_MS,
    Beat,
    BeatAnswer,
    ClaimAnswer,
    Facts,
    Joined,
    NameHeld,
    NodeInfo,
    NodeRecord,
    OtherFacts,
    Release,
)
from appliance.config.cluster import Cluster
from appliance.config.fields.engine_url import EngineUrl, parse_engine_url
from appliance.errors import EngineAway, EngineUnsuitable
from appliance.gateway.nodes import Claim, Held, Place

VITAL = 8
"""Connections beyond ``cluster.commands``: for heartbeats and the doorbell, whatever else is under way."""


class RedisEngine:
    """Implements ``engine.Engine``. ``read_password`` is called for each new connection, and raises OSError."""

    def __init__(self, settings: Cluster, read_password: Callable[[], Awaitable[str | None]]) -> None:
        url = parse_engine_url(settings.url or "")
        self._prefix = f"icws:{settings.name}:"
        self._doubt = self._prefix + "doubt"
        self._sentinel, self._redis = _client(url, settings, _Credentials(url.user, read_password))
        self._beat = self._redis.register_script(scripts.BEAT)
        self._leave = self._redis.register_script(scripts.LEAVE)
        self._nodes = self._redis.register_script(scripts.NODES)
        self._claim = self._redis.register_script(scripts.CLAIM)
        self._hold = self._redis.register_script(scripts.HOLD)
        self._release = self._redis.register_script(scripts.RELEASE)
        self._released = self._redis.register_script(scripts.RELEASED)

    async def connect(self) -> None:
        """See Engine."""
        with _answers():
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
        ]
        with _answers():
            answer = await self._beat(self._keys_of(beat.node), args)
            match answer:
                case [b"joined", int(was_known)]:
                    return Joined(bool(was_known))
                case [b"facts", bytes(theirs)]:
                    return OtherFacts(Facts(*json.loads(theirs)))
                case [b"held", bytes(value)]:
                    return NameHeld(value.decode())
        raise EngineAway("its answer to a heartbeat is none")

    async def leave(self, node: str, incarnation: str) -> None:
        """See Engine."""
        with _answers():
            await self._leave(self._keys_of(node), [node, incarnation])

    async def nodes(self) -> Sequence[NodeRecord]:
        """See Engine."""
        with _answers():
            found = await self._nodes([self._prefix + "nodes", self._doubt], [FORGOTTEN_MS, SILENT_MS, MAX_CLAIM_MS])
            return [
                NodeRecord(name.decode(), incarnation.decode(), silent_ms, _info(info))
                for name, incarnation, silent_ms, info in sorted(found)
            ]

    async def claim(self, node: str, incarnation: str, claim: Claim, *, now_ns: int) -> ClaimAnswer:
        """See Engine."""
        left_ms = min(max(1, -(-(claim.expires_ns - now_ns) // 10**6)), MAX_CLAIM_MS) if claim.request_id else 0
        keys: list[bytes | str] = [self._opening(claim), self._place(claim.place), self._doubt]
        nodes = self._prefix + "node:" if claim.place.group else ""
        with _answers():
            answer = await self._claim(keys, [node, incarnation, left_ms, _since(now_ns), HELD_MS, nodes])
        return cast("ClaimAnswer", _word(answer, "granted", "doubted", "used", "leaving"))

    async def hold(self, node: str, incarnation: str, held: Sequence[Held]) -> None:
        """See Engine."""
        if held:
            with _answers():
                keys = [self._place(each.place) for each in held]
                await self._hold(keys, [node, incarnation, HELD_MS, *(_since(each.since_ns) for each in held)])

    async def release(self, node: str, incarnation: str, place: Place) -> Release:
        """See Engine."""
        keys: list[bytes | str] = [self._place(place), f"{self._prefix}node:{node}"]
        with _answers():
            answer = await self._release(keys, [node, CLOSING_MS, incarnation, self._prefix + "node:"])
        return cast("Release", _word(answer, "free", "taken", "unknown"))

    async def released(self, node: str, incarnation: str, place: Place) -> None:
        """See Engine."""
        with _answers():
            await self._released([self._place(place)], [node, incarnation])

    async def ring(self, message: bytes) -> None:
        """See Engine."""
        with _answers():
            await self._redis.publish(self._prefix + "bell", message)

    async def listen(self, heard: Callable[[bytes], None]) -> None:
        """See Engine."""
        with _answers():
            async with self._redis.pubsub() as bell:
                await bell.subscribe(self._prefix + "bell")
                async for message in bell.listen():
                    if message["type"] == "message":
                        heard(message["data"])

    async def close(self) -> None:
        """See Engine."""
        for client in (self._redis, *(self._sentinel.sentinels if self._sentinel is not None else ())):
            await client.aclose()
            await client.connection_pool.disconnect()

    def _keys_of(self, node: str) -> list[str]:
        return [self._prefix + "facts", f"{self._prefix}node:{node}", self._prefix + "nodes", self._doubt]

    def _opening(self, claim: Claim) -> bytes:
        return b"%sopening:%s" % (
            self._prefix.encode(),
            _joined(claim.place.canister_id, claim.client_key, claim.request_id),
        )

    def _place(self, place: Place) -> bytes:
        return b"%splace:%s" % (self._prefix.encode(), _joined(place.canister_id, place.group))


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
        "client_name": "icws",
    }
    if url.user is not None or settings.password_file is not None:
        options["credential_provider"] = credentials
    if url.is_tls:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        options |= {"ssl_ca_certs": str(settings.ca)} if settings.ca is not None else {}
    limit = settings.commands + VITAL
    if url.master is not None:
        own = {key: value for key, value in options.items() if key not in ("db", "credential_provider")}
        sentinel: Sentinel = Sentinel(  # type: ignore[no-untyped-call]
            [(host.host, host.port) for host in url.hosts],
            sentinel_kwargs={**own, "ssl": url.is_tls},
            **options,
            ssl=url.is_tls,
        )
        return sentinel, sentinel.master_for(url.master, max_connections=limit)
    kind: type[Connection] | type[UnixDomainSocketConnection] = SSLConnection if url.is_tls else Connection
    if url.path is not None:
        kind, options["path"] = UnixDomainSocketConnection, str(url.path)
    else:
        options |= {"host": url.hosts[0].host, "port": url.hosts[0].port}
    return None, Redis.from_pool(ConnectionPool(connection_class=kind, max_connections=limit, **options))


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


@contextmanager
def _answers() -> Iterator[None]:
    """Raises EngineAway for whatever goes wrong with a command."""
    try:
        yield
    except MasterNotFoundError as error:
        what, _, clients = str(error).partition(" : ")  # which are named with their whole configuration
        causes = sorted({each[:80] for each in re.findall(r"> - (.+?)(?=, <|$)", clients)})
        why = f"Sentinels were asked in vain ({', '.join(causes)})" if causes else "no Sentinel knows it, or it is down"
        raise EngineAway(f"{what}, the name at the end of cluster.url: {why}") from None
    except (RedisError, OSError, TimeoutError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise EngineAway(str(error) or type(error).__name__) from error


def _info(text: bytes) -> NodeInfo:
    """What a node says of itself. Raises ValueError. A later release may say more."""
    said = json.loads(text)
    values = {each.name: said[each.name] for each in fields(NodeInfo)}
    for each in fields(NodeInfo):
        if type(values[each.name]) is not each.type:
            raise ValueError(f"a node says of itself that {each.name} is {values[each.name]!r:.40}")
    return NodeInfo(**values)


def _word(answer: object, *known: str) -> str:
    word = answer.decode("ascii", "replace") if isinstance(answer, bytes) else str(answer)
    if word not in known:
        raise EngineAway(f"its answer is {word:.20}")
    return word


def _joined(*parts: bytes) -> bytes:
    """Parts behind each other, each with its length: no other parts give the same."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _since(at_ns: int) -> str:
    return f"{at_ns:020d}"
