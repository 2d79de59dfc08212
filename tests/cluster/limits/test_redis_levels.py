"""Levels at a real Redis, and at the socket of the workers' engine, against the board in memory."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cluster.limits.level_board import LevelBoard
from appliance.cluster.limits.levels import Spent
from appliance.cluster.redis_engine import RedisEngine
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway
from tests.cluster.redis_server import RedisServer, redis_server
from tests.cluster.test_local_engine import engine as local_engine

KEYS = st.sampled_from([b"a", b"\x00:\n b", b"b" * 16])
RATE = 1 / 3600
"""So slow that nothing is given back during a test."""
STEPS = st.lists(st.lists(st.builds(Spent, KEYS, st.just(RATE), st.integers(1, 10**6)), min_size=1, max_size=4))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def no_password() -> None:
    return None


def engine_at(server: RedisServer) -> RedisEngine:
    return RedisEngine(Cluster.model_validate({"url": server.url}), no_password)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_redis_counts_as_the_board_does(server: RedisServer, steps: list[list[Spent]]) -> None:
    async def main() -> None:
        engine, board = engine_at(server), LevelBoard(100)
        await engine._redis.flushall()
        for spent in steps:
            assert await engine.spend(spent) == pytest.approx(board.spend(spent, 0), abs=0.1)
        await engine.close()

    asyncio.run(main())


async def test_the_engine_of_workers_counts_as_the_board_does() -> None:
    board = LevelBoard(100)
    async with local_engine() as (server, client):
        for now_ms in (0, 700, 701, 9000):
            server.board.now_ms = now_ms
            spent = [Spent(b"\x00:", 1 / 3, 2), Spent(b"b" * 16, 5.0, 1)]
            assert await client.spend(spent) == board.spend(spent, now_ms)


async def test_time_gives_back_at_the_rate(server: RedisServer) -> None:
    engine = engine_at(server)
    seconds, micros = await engine._redis.time()
    for ago_s, left in ((0, 101.0), (4, 81.0), (100, 1.0), (-50, 101.0)):
        await engine._redis.set(b"icws:main:rate:a", b"100 %d" % ((seconds - ago_s) * 10**6 + micros))
        (level,) = await engine.spend([Spent(b"a", 5.0, 1)])
        assert left - 60 * 5 <= level <= left, "a machine that stands still for a minute gives back more"
        assert ago_s < 0 or level > left - 5 or level >= 1
        ttl_ms = await engine._redis.pttl(b"icws:main:rate:a")
        assert 0 <= ttl_ms <= 1000 * left / 5 + 1
    await engine.close()


def test_the_board_gives_back_at_the_rate_and_forgets_who_has_all() -> None:
    board = LevelBoard(100)
    assert board.spend([Spent(b"a", 5.0, 10)], 1000) == [10]
    assert board.spend([Spent(b"a", 5.0, 1)], 2000) == [6]
    assert board.spend([Spent(b"a", 10.0, 1)], 2100) == [6]
    assert board.spend([Spent(b"a", 10.0, 1)], 1000) == [7], "a clock that was set back gives nothing back"
    board.spend([Spent(b"b", 5.0, 100)], 1000)
    board.sweep(2000)
    assert len(board) == 1


def test_the_board_has_a_bound_and_forgets_the_key_that_was_used_longest_ago() -> None:
    board = LevelBoard(limit=2)
    board.spend([Spent(b"a", 1.0, 5), Spent(b"b", 1.0, 5), Spent(b"a", 1.0, 1), Spent(b"c", 1.0, 5)], 0)
    assert len(board) == 2
    assert board.spend([Spent(b"a", 1.0, 1)], 0) == [7]
    assert board.spend([Spent(b"b", 1.0, 1)], 0) == [1]


@pytest.mark.parametrize("answer", [[], [b"1", b"2"], [b"nan"], [b"-1"], [b"x"], None, 5])
async def test_what_is_no_answer_is_an_engine_that_is_away(server, monkeypatch, answer) -> None:
    engine = engine_at(server)

    async def lie(*_: object) -> object:
        return answer

    monkeypatch.setattr(engine._levels, "_spend", lie)
    with pytest.raises(EngineAway):
        await engine.spend([Spent(b"a", 1.0, 1)])
    await engine.close()
