"""The scripts at a real Redis do what the board in memory does, and what goes wrong there is an engine that is away."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from appliance.cluster.commands import Commands
from appliance.cluster.engine import MAX_CLAIM_MS, SILENT_MS, Beat, Facts, Held, Joined, NodeInfo
from appliance.cluster.joining import missing_extra, password_from
from appliance.cluster.redis_engine import MAX_REPLY, RedisEngine
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway, EngineUnsuitable
from appliance.gateway.nodes import Claim, Place
from appliance.ic.principal import Principal
from tests.cluster.board import Board
from tests.cluster.nodes import CANISTER, INFO, NOW_NS, claim, until
from tests.cluster.redis_pace import paced
from tests.cluster.redis_server import RedisServer, redis_at_port, redis_server, redis_with_tls, sentinel
from tests.needs import program


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def engine_at(
    url: str, *, name: str = "main", password: str | None = None, **options: Any
) -> AsyncIterator[RedisEngine]:
    async def read_password() -> str | None:
        return password

    engine = RedisEngine(Cluster.model_validate({"url": url, "name": name, **options}), read_password)
    try:
        yield engine
    finally:
        await engine.close()


def beat(node: str, number: int = 1, *, incarnation: str = "0" * 16, facts: str = "a", doubt_ms: int = 0) -> Beat:
    return Beat(node, incarnation, number, Facts(facts, "b"), INFO, doubt_ms=doubt_ms)


EXAMPLES = int(os.environ.get("ICWS_ENGINE_EXAMPLES", "60"))
SENT_MS = 10**14
"""A claim that is made at once."""
NODES = st.sampled_from(["a", "b", "b.2"])
INCARNATIONS = st.sampled_from(["0" * 16, "12" * 7 + "ab"])
PLACES = st.sampled_from([Place(CANISTER, group) for group in (b"x", b"xy", b"\x00:")])
CLAIMS = st.builds(
    Claim,
    st.one_of(PLACES, st.just(Place(CANISTER, b"")), st.just(Place(Principal(b"x"), b""))),
    st.just("client"),
    st.sampled_from([b"key", b"ke"]),
    st.sampled_from([b"", b"r" * 32, b"s" * 32]),
    st.just(NOW_NS + 240 * 10**9),
    st.none(),
)
SINCE = st.one_of(st.integers(0, 3), st.just(SENT_MS))
"""By the clock of the engine: long ago, or later than now."""
HELD = st.builds(Held, PLACES, SINCE)
STEPS = st.one_of(
    st.tuples(
        st.just("beat"),
        st.builds(
            Beat,
            NODES,
            INCARNATIONS,
            st.integers(0, 3),
            st.builds(Facts, st.sampled_from(["a", 'b"']), st.just("root")),
            st.just(NodeInfo("1.0", "ma|chine", 7, 10**18)),
            st.sampled_from(["", "0" * 16 + ":1"]),
            st.sampled_from([0, 3_000_000]),
            st.booleans(),
        ),
    ),
    st.tuples(st.just("leave"), NODES, INCARNATIONS),
    st.tuples(st.just("claim"), NODES, INCARNATIONS, CLAIMS, SINCE),
    st.tuples(st.just("hold"), NODES, INCARNATIONS, st.lists(HELD, max_size=3)),
    st.tuples(st.just("release"), NODES, INCARNATIONS, PLACES),
    st.tuples(st.just("released"), NODES, INCARNATIONS, PLACES),
)


CLAIM = Claim(Place(CANISTER, b"x"), "client", b"key", b"", NOW_NS, None)
HELD_SINCE_LATER = [
    ("claim", "a", "0" * 16, CLAIM, SENT_MS),
    ("hold", "b", "0" * 16, [Held(CLAIM.place, SENT_MS)]),
    ("beat", beat("a")),
    ("release", "a", "0" * 16, CLAIM.place),
]
REPLACED = [("beat", beat("a")), ("beat", replace(beat("a", incarnation="f" * 16), replaces="0" * 16 + ":1"))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(st.lists(STEPS, max_size=30))
@example(HELD_SINCE_LATER)
@example(REPLACED)
def test_redis_does_what_the_board_does(server: RedisServer, steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        board = Board(now_ms=NOW_NS // 10**6)
        board.flush()
        async with engine_at(server.url, name="model") as engine, Redis.from_url(server.url) as raw:
            await raw.flushall()
            with paced(SILENT_MS) as pace:
                for name, *args in steps:
                    pace.step()
                    board.now_ms += 1
                    answers = [await _at_redis(engine, name, args), _at_board(board, name, args)]
                    ours, theirs = (
                        replace(each, engine_ms=0) if isinstance(each, Joined) else each for each in answers
                    )
                    pace.compare(ours, theirs, name, args)
                seen = [(each.name, each.incarnation, each.info) for each in await engine.nodes()]
                pace.compare(seen, [(each.name, each.incarnation, each.info) for each in board.nodes()])
                pace.compare(len(await raw.keys(b"icws:model:opening:*")), len(board.openings))
                pace.compare(len(await raw.keys(b"icws:model:place:*")), len(board.places))
            for key in await raw.keys("*"):
                if key not in (b"icws:model:nodes", b"icws:model:past"):
                    assert -1 != await raw.pttl(key) <= 3_600_000, key

    asyncio.run(main())


async def _at_redis(engine: RedisEngine, name: str, args: list[Any]) -> Any:
    if name == "claim":
        *whose, claimed, since_ms = args
        return await engine.claim(*whose, claimed, now_ns=NOW_NS, since_ms=since_ms)
    return await getattr(engine, name)(*args)


def _at_board(board: Board, name: str, args: list[Any]) -> Any:
    if name == "claim":
        *whose, claimed, since_ms = args
        return board.claim(*whose, claimed, NOW_NS, since_ms)
    return getattr(board, name)(*args)


async def test_a_claim_stands_as_long_as_its_opening_and_not_for_ever(server: RedisServer):
    async with engine_at(server.url, name="claims") as engine, Redis.from_url(server.url) as raw:
        await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS)
        (key,) = await raw.keys(b"icws:claims:opening:*")
        assert 239_000 < await raw.pttl(key) <= 240_000
        far = claim(b"f" * 32)._replace(expires_ns=NOW_NS + 10**18)
        await engine.claim("a", "0" * 16, far, now_ns=NOW_NS, since_ms=SENT_MS)
        assert max([await raw.pttl(each) for each in await raw.keys(b"icws:claims:opening:*")]) <= 600_000
        late = claim(b"l" * 32)._replace(expires_ns=NOW_NS - 10**9)
        assert await engine.claim("a", "0" * 16, late, now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"


@pytest.mark.parametrize("command", ["claim", "hold"])
async def test_what_is_delayed_until_its_session_has_ended_holds_no_place(server: RedisServer, command: str):
    place, opening = Place(CANISTER, b"x"), claim(b"", group=b"x")
    async with engine_at(server.url, name=f"ended-{command}") as engine:
        for name in ("a", "b"):
            await engine.beat(beat(name, incarnation=name * 16))
        assert await engine.claim("a", "a" * 16, opening, now_ns=NOW_NS, since_ms=SENT_MS) == "granted"
        assert await engine.release("a", "a" * 16, place) == "free"
        await engine.released("a", "a" * 16, place)
        if command == "claim":
            await engine.claim("a", "a" * 16, opening, now_ns=NOW_NS, since_ms=1)
        else:
            await engine.hold("a", "a" * 16, [Held(place, 1)])
        assert await engine.release("b", "b" * 16, place) == "free"
        await engine.released("b", "b" * 16, place)
        await engine.claim("a", "a" * 16, opening, now_ns=NOW_NS, since_ms=SENT_MS)
        assert await engine.release("b", "b" * 16, place) == "taken"


async def test_an_engine_that_lost_what_it_held_doubts_until_all_openings_of_before_have_expired(server: RedisServer):
    async with engine_at(server.url, name="doubt") as engine, Redis.from_url(server.url) as raw:
        await engine.beat(beat("a"))
        assert await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"
        assert float(await raw.get("icws:doubt:doubt")) > NOW_NS / 10**6 + MAX_CLAIM_MS
        await raw.set("icws:doubt:doubt", "1700000000000")
        await engine.beat(beat("a", 2))
        assert await engine.claim("a", "0" * 16, claim(b"s" * 32), now_ns=NOW_NS, since_ms=SENT_MS) == "granted"
        await engine.beat(beat("b", doubt_ms=60_000))
        assert await engine.claim("a", "0" * 16, claim(b"t" * 32), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"


async def test_another_server_with_what_the_last_one_held_may_have_lost_the_end_of_it(tmp_path: Path):
    with redis_server(tmp_path) as server:
        async with engine_at(server.url) as engine, Redis.from_url(server.url) as raw:
            await engine.beat(beat("a"))
            await engine.beat(beat("b", incarnation="b" * 16))
            await raw.set("icws:main:doubt", "1700000000000")
            assert (await engine.beat(beat("a", 2))).was_known
            assert await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS) == "granted"
            await raw.save()
            server.kill()
            server.start()  # as after a failover: its address is the same
            while True:
                with suppress(EngineAway):  # the connections to the last one are lost
                    await engine.connect()
                    break
            assert not (await engine.beat(beat("a", 3))).was_known
            assert await engine.claim("a", "0" * 16, claim(b"s" * 32), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"
            assert (await engine.beat(beat("a", 4))).was_known
            async with engine_at(server.url) as other:
                assert (await other.beat(beat("b", 2, incarnation="b" * 16))).was_known


async def test_a_node_that_is_silent_or_was_killed_is_a_reason_to_doubt(server: RedisServer):
    async with engine_at(server.url, name="silent") as engine, Redis.from_url(server.url) as raw:
        for is_replaced in (False, True):
            await engine.beat(beat("a"))
            info = (await raw.hget("icws:silent:nodes", "a")).split(b"|", 1)
            silent = b"%d|%s" % (int(info[0]) - 10_000, info[1])
            await raw.hset("icws:silent:nodes", "a", silent)
            await raw.set("icws:silent:doubt", "1700000000000")
            if is_replaced:
                await raw.delete("icws:silent:node:a")
                await engine.beat(beat("a", incarnation="f" * 16))
            else:
                await engine.nodes()
            assert float(await raw.get("icws:silent:doubt")) == int(silent.split(b"|")[0]) + MAX_CLAIM_MS


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "{}",
        "[" * 100_000,
        '{"version": 1, "host": "m", "pid": 7, "started_at_ns": 1, "sessions": 0}',
        '{"version": "1.0", "host": "m", "pid": 7, "started_at_ns": 1, "sessions": "many"}',
        '{"version": "1.0", "host": "m", "pid": true, "started_at_ns": 1, "sessions": 0}',
    ],
)
async def test_what_a_forged_node_says_of_itself_goes_no_further(server: RedisServer, said: str):
    async with engine_at(server.url, name="forged") as engine, Redis.from_url(server.url) as raw:
        await engine.beat(beat("a"))
        await raw.hset("icws:forged:nodes", "b", f"{NOW_NS // 10**6 * 1000}|00|{said}")
        with pytest.raises(EngineAway):
            await engine.nodes()


async def test_a_node_of_a_later_release_may_say_more_of_itself(server: RedisServer):
    async with engine_at(server.url, name="later") as engine, Redis.from_url(server.url) as raw:
        await engine.beat(beat("a"))
        record = await raw.hget("icws:later:nodes", "a")
        await raw.hset("icws:later:nodes", "b", record.replace(b'"pid"', b'"region": "eu", "pid"'))
        assert [each.info for each in await engine.nodes()] == [INFO, INFO]


async def test_what_is_rung_is_heard_by_everybody_and_what_is_told_by_one(server: RedisServer):
    heard: list[bytes] = []
    told: dict[str, list[bytes]] = {"aa": [], "bb": []}
    async with engine_at(server.url) as engine, engine_at(server.url) as other:
        listening = [
            asyncio.ensure_future(each.listen(name, heard.append, told[name].append))
            for name, each in (("aa", engine), ("bb", other))
        ]
        while len(heard) < 2:  # the subscription takes its time
            heard.clear()
            await other.ring(b"ding")
            await asyncio.sleep(0.01)
        assert set(heard) == {b"ding"}
        assert await engine.tell("bb", b"come")
        assert not await engine.tell("cc", b"who")
        await until(lambda: told["bb"])
        assert told == {"aa": [], "bb": [b"come"]}
        for each in listening:
            each.cancel()
        await asyncio.wait(listening)


async def test_what_is_too_long_is_not_read(server: RedisServer):
    heard: list[bytes] = []
    async with engine_at(server.url, name="long") as engine, Redis.from_url(server.url) as raw:
        listening = asyncio.ensure_future(engine.listen("aa", heard.append, heard.append))
        while not heard:  # the subscription takes its time
            await raw.publish("icws:long:bell", b"ding")
            await asyncio.sleep(0.01)
        heard.clear()
        await raw.publish("icws:long:bell", bytes(MAX_REPLY))
        with pytest.raises(EngineAway, match=f"more than {MAX_REPLY} bytes"):
            await listening
        assert set(heard) <= {b"ding"}
        await raw.hset("icws:long:nodes", "a", bytes(MAX_REPLY))
        await engine.nodes()  # that record is none, and Redis itself leaves it out
        assert await raw.set("icws:long:facts", bytes(MAX_REPLY))
        with pytest.raises(EngineAway, match=f"more than {MAX_REPLY} bytes"):
            await engine.beat(beat("a"))


async def test_an_engine_at_a_port(tmp_path: Path):
    with redis_at_port(tmp_path) as url:
        async with engine_at(url) as engine:
            await engine.connect()
            assert (await engine.beat(beat("a"))).was_known is False
            assert (await engine.beat(beat("a", 2))).was_known is True


async def test_clusters_of_other_names_share_nothing(server: RedisServer):
    async with engine_at(server.url, name="one") as engine, engine_at(server.url, name="two") as other:
        assert await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"
        assert await other.claim("a", "f" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"


async def test_a_server_that_is_gone_or_stands_still_is_away_and_comes_back(tmp_path: Path):
    with redis_server(tmp_path) as server:
        # One that has patience where an answer has to come, and one that has none where it must not.
        async with engine_at(server.url, timeout="60s") as engine, engine_at(server.url, timeout="100ms") as hasty:
            await engine.connect()
            server.stop()
            with pytest.raises(EngineAway):
                await hasty.beat(beat("a"))
            server.go_on()
            await engine.beat(beat("a"))
            server.kill()
            with pytest.raises(EngineAway):
                await engine.beat(beat("a"))
            server.start()
            await engine.connect()
            await engine.beat(beat("a"))
            assert [each.name for each in await engine.nodes()] == ["a"]


async def test_commands_that_take_too_long_cost_no_connections(tmp_path: Path):
    with redis_server(tmp_path) as server:
        async with engine_at(server.url, timeout="60s") as engine, Redis.from_url(server.url) as raw:
            commands = Commands(8)
            await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS)
            before = (await raw.info("stats"))["total_connections_received"]
            server.stop()
            for number in range(50):
                wanted = partial(
                    engine.claim, "a", "0" * 16, claim(bytes([number]) * 32), now_ns=NOW_NS, since_ms=SENT_MS
                )
                with pytest.raises(EngineAway):
                    await commands.run(wanted, 0.001)
            server.go_on()
            await until(lambda: not commands.under_way)
            after = (await raw.info("stats"))["total_connections_received"]
            assert after - before <= 8
            assert commands.dropped >= 42


async def test_a_full_server_is_away(tmp_path: Path):
    with redis_server(tmp_path, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as server:
        async with engine_at(server.url) as engine:
            await engine.connect()

            async def fill() -> None:
                for number in range(100_000):
                    await engine.claim(
                        "a", "0" * 16, claim(number.to_bytes(32, "big")), now_ns=NOW_NS, since_ms=SENT_MS
                    )

            with pytest.raises(EngineAway, match="maxmemory"):
                await fill()


async def test_a_server_that_evicts_is_refused_by_name(tmp_path: Path):
    with redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
        async with engine_at(server.url) as engine:
            with pytest.raises(EngineUnsuitable, match="allkeys-lru"):
                await engine.connect()


async def test_a_node_of_redis_cluster_is_refused_by_name(tmp_path: Path):
    with redis_at_port(tmp_path, is_cluster=True) as url:
        async with engine_at(url) as engine:
            with pytest.raises(EngineUnsuitable, match="Redis Cluster"):
                await engine.connect()


async def test_sentinels_know_where_the_server_is_and_are_refused_in_its_place(tmp_path: Path):
    with redis_at_port(tmp_path) as url, sentinel(tmp_path / "sentinel", url, "house") as where:
        async with engine_at(f"sentinel://{where}/house") as engine:
            await engine.connect()
            await engine.beat(beat("a"))
            async with engine_at(url) as direct:
                assert [each.name for each in await direct.nodes()] == ["a"]
        async with engine_at(f"sentinel://{where}/another") as engine:
            with pytest.raises(EngineAway, match="another"):
                await engine.connect()
        async with engine_at(f"redis://{where}") as engine:
            with pytest.raises(EngineUnsuitable, match="sentinel://"):
                await engine.connect()
        # What went wrong is told, and not how this client is configured.
        async with engine_at("sentinel://127.0.0.1:1/house") as engine:
            with pytest.raises(EngineAway, match=r"'house'.*ConnectionError") as caught:
                await engine.connect()
            assert len(str(caught.value)) < 250, caught.value


async def test_tls_is_verified(tmp_path: Path):
    for name in ("own", "other"):
        make = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        make += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        make += ["-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"]
        subprocess.run(make, check=True, capture_output=True)  # noqa: ASYNC221, S603
    with redis_with_tls(tmp_path, tmp_path / "own.pem", tmp_path / "own.key") as url:
        async with engine_at(url, ca=tmp_path / "own.pem") as engine:
            await engine.connect()
            await engine.beat(beat("a"))
        for wrong in ({"ca": tmp_path / "other.pem"}, {}):
            async with engine_at(url, **wrong) as engine:
                with pytest.raises(EngineAway, match=r"[Cc]ertificate|CERTIFICATE"):
                    await engine.connect()
        async with engine_at(url.replace("localhost", "127.0.0.1"), ca=tmp_path / "own.pem") as engine:
            with pytest.raises(EngineAway, match=r"127\.0\.0\.1"):
                await engine.connect()


async def test_a_user_and_a_password_from_a_file(tmp_path: Path):
    rules = ["--user", "icws", "on", ">secret", "~icws:*", "&icws:*", "+@all"]
    with redis_server(tmp_path, "--requirepass", "other", *rules) as server:
        at_user = server.url.replace("unix://", "unix://icws@")
        async with engine_at(at_user, password="secret", password_file="x") as engine:
            await engine.connect()
            await engine.beat(beat("a"))
            assert await engine.claim("a", "0" * 16, claim(), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"
        async with engine_at(at_user, password="wrong", password_file="x") as engine:
            with pytest.raises(EngineAway, match=r"WRONGPASS|invalid username-password"):
                await engine.connect()
        async with engine_at(server.url) as engine:
            with pytest.raises(EngineAway, match=r"[Aa]uthentication"):
                await engine.connect()


def test_a_password_comes_from_where_a_key_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert password_from(file) == "secret"
    monkeypatch.setenv("REDIS_PASSWORD", "word")
    assert password_from(Path("env:REDIS_PASSWORD")) == "word"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert password_from(Path("credential:password")) == "secret"
    for missing in ("env:NO_SUCH", "credential:none", tmp_path / "none"):
        with pytest.raises(OSError, match=r"."):
            password_from(Path(missing))


def test_the_advice_for_a_missing_extra_names_no_index(monkeypatch: pytest.MonkeyPatch):
    assert missing_extra() is None
    monkeypatch.setattr("appliance.cluster.joining.find_spec", lambda _: None)
    assert "[cluster]" in (missing_extra() or "")
    assert "http" not in (missing_extra() or "")
