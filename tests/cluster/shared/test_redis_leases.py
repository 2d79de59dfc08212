"""Leases and entries at a real Redis, against the board in memory that shows how they are meant."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cluster.redis_engine import RedisEngine
from appliance.cluster.shared.lease_board import LeaseBoard
from appliance.cluster.shared.leases import LEASE_MS, Lease, Wanted
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway
from tests.cluster.redis_pace import paced
from tests.cluster.redis_server import RedisServer, redis_server

QUEUES = st.sampled_from([b"queue", b"\x0aother:queue\n"])
NODES = st.sampled_from(["a" * 16, "b" * 16])
EPOCHS = st.integers(0, 2)
"""0 is the one of the last lease."""
MODES = st.sampled_from(["look", "hold", "renew", "seize"])
ENTRY = st.binary(min_size=1, max_size=30)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), NODES, st.lists(st.tuples(QUEUES, MODES), max_size=3)),
        st.tuples(st.just("put"), NODES, QUEUES, EPOCHS, st.integers(1, 4), ENTRY),
        st.tuples(st.just("entries"), QUEUES, EPOCHS, st.integers(0, 4), st.integers(1, 60)),
    ),
    max_size=25,
)
MEMORY = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def no_password() -> None:
    return None


def engine_at(server: RedisServer) -> RedisEngine:
    return RedisEngine(Cluster.model_validate({"url": server.url}), no_password)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_redis_does_what_the_board_does(server: RedisServer, steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        engine, board, epochs = engine_at(server), LeaseBoard(), ["00" * 8, "01" * 8, "02" * 8]
        await engine._redis.flushall()
        with paced(LEASE_MS) as pace:
            for what, *rest in steps:
                if what == "lease":
                    node, wanted = rest[0], list[Wanted]()
                    for queue, mode in rest[1]:
                        epochs.insert(0, len(epochs).to_bytes(8, "big").hex())
                        wanted.append(Wanted(queue, epochs[0], mode))
                    pace.compare(await engine.lease(node, wanted), board.lease(node, wanted, 0))
                elif what == "put":
                    node, queue, epoch, number, entry = rest
                    put = (node, queue, epochs[epoch], number, entry)
                    pace.compare(await engine.put(*put, memory=MEMORY), board.put(*put, memory=MEMORY, now_ms=0))
                else:
                    queue, epoch, after, most = rest
                    found = await engine.entries(queue, epochs[epoch], after, max_bytes=most)
                    pace.compare(found, board.entries(queue, epochs[epoch], after, max_bytes=most, now_ms=0))
        await engine.close()

    asyncio.run(main())


async def test_all_entries_together_have_no_more_bytes_than_they_may(server: RedisServer) -> None:
    engine = engine_at(server)
    await engine._redis.flushall()
    wanted = [Wanted(b"%d" % number, "00" * 8, "hold") for number in range(5)]
    await engine.lease("a" * 16, wanted)
    for number in range(1, 31):
        for each in wanted:
            assert await engine.put("a" * 16, each.queue, each.epoch, number, b"x" * 1000, memory=20_000)
    kept = [key async for key in engine._redis.scan_iter(b"icws:main:poll:*:*")]
    assert len(kept) == 20
    found = await engine.entries(b"4", "00" * 8, 0, max_bytes=10**6)
    assert (found.last, found.first, len(found.entries)) == (30, 27, 4)
    for key in kept:
        assert 0 < await engine._redis.pttl(key) <= 10_000
    await engine.close()


async def test_each_node_hears_of_an_entry_by_the_name_of_its_queue(server: RedisServer) -> None:
    engine, heard = engine_at(server), list[bytes]()
    await engine._redis.flushall()
    await engine.lease("a" * 16, [Wanted(b"queue", "00" * 8, "hold")])
    hearing = asyncio.ensure_future(engine.hear(heard.append))
    number = 0
    while not heard:
        number += 1
        await engine.put("a" * 16, b"queue", "00" * 8, number, b"entry", memory=1000)
    assert set(heard) == {b"queue"}
    hearing.cancel()
    await asyncio.wait({hearing})
    await engine.close()


async def test_a_lease_ends_by_itself(server: RedisServer) -> None:
    engine = engine_at(server)
    await engine._redis.flushall()
    wanted = Wanted(b"queue", "00" * 8, "hold")
    await engine.lease("a" * 16, [wanted])
    assert 0 < await engine._redis.pttl(b"icws:main:poll:queue") <= LEASE_MS
    await engine._redis.delete(b"icws:main:poll:queue")
    other = Wanted(b"queue", "01" * 8, "hold")
    assert await engine.lease("b" * 16, [other]) == [Lease("b" * 16, other.epoch, 0, 2)]
    await engine.close()


@pytest.mark.parametrize(
    "answer",
    [[], None, 7, [[b"a", b"zz", 1, 1]], [[b"a", b"00", b"x", 1]], [[b"a", b"00", 1]], [b"a"]],
)
async def test_whatever_else_it_answers_is_no_lease(server: RedisServer, answer: object) -> None:
    engine = engine_at(server)

    async def lie(*_: object) -> object:
        return answer

    engine._leases._lease = engine._leases._reads.script = lie  # type: ignore[assignment,method-assign]
    with pytest.raises(EngineAway):
        await engine.lease("a" * 16, [Wanted(b"queue", "00" * 8, "hold")])
    with pytest.raises(EngineAway):
        await engine.entries(b"queue", "00" * 8, 0, max_bytes=1)
    await engine.close()


async def test_an_engine_that_is_full_takes_no_entry(tmp_path) -> None:
    with redis_server(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as full:
        engine = engine_at(full)
        await engine.lease("a" * 16, [Wanted(b"queue", "00" * 8, "hold")])

        async def fill() -> None:
            for number in range(1, 100):
                assert await engine.put("a" * 16, b"queue", "00" * 8, number, b"x" * 200_000, memory=10**9)

        with pytest.raises(EngineAway, match="maxmemory"):
            await fill()
        await engine.close()
