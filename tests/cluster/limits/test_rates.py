"""What a node tells the engine of the rate limits that all nodes count, and when it counts alone."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from appliance.config.schema import Config
from appliance.gateway.limits.rate_limits import Limits
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import Beating, beating, until

ADDRESS = "192.0.2.7"
PATIENT = {"limit_timeout": "1s", "limit_interval": "1ms"}
"""The machine may be busy."""


def limits_of(it: Beating, **limit: Any) -> Limits:
    """The limits of a gateway whose clock is that of the node, and who tells this node of them."""
    limit = {"rate": "1/s", "burst": 4, "scope": "cluster", **limit}
    config = Config.model_validate({"rate_limits": {"connections_per_ip": limit, "messages_per_client": limit}})
    limits = Limits(config, clock=lambda: round(it.now * 1e9))
    it.local.rates = limits.cluster
    it.node.serve(it.local)
    return limits


def connected(limits: Limits, times: int = 1) -> int:
    """How many of these connections of an address are allowed."""
    return sum(limits.connection(ADDRESS) is None for _ in range(times))


async def told(*nodes: Beating) -> None:
    await until(lambda: all(it.node.rates._telling is None for it in nodes))


async def test_nodes_count_together() -> None:
    board = Board()
    async with (
        beating(MemoryEngine(board), "a", settings=PATIENT) as a,
        beating(MemoryEngine(board), "b", settings=PATIENT) as b,
    ):
        of_a, of_b = limits_of(a, rate="1/h"), limits_of(b, rate="1/h")
        assert connected(of_a, 3) == 3
        await told(a)
        assert connected(of_b) == 1
        await told(b)
        exceeded = of_b.connection(ADDRESS)
        assert exceeded is not None
        assert exceeded.at_all_nodes
        assert "connections at all nodes 1/h" in str(exceeded.error())
        a.now = b.now = a.now + 3600
        board.now_ms += 3_600_000
        assert connected(of_b, 2) == 1
        assert of_b.cluster.problem is None
        assert of_b.cluster.counts == {"cluster": 2}
        assert b.node.rates.counts["answered"] == 1


async def test_several_keys_are_one_command_and_the_engine_does_not_learn_whose_they_are() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings=PATIENT) as it:
        limits = limits_of(it)
        for number in range(50):
            limits.connection(f"192.0.2.{number}")
        await told(it)
        assert engine.made.count("spend") == 1
        keys = list(engine.board.levels._levels)
        assert len(keys) == 50
        assert all(len(key) == 16 for key in keys)


async def test_an_engine_that_answers_too_late_is_asked_once_and_the_node_counts_alone() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings={"limit_timeout": "1ms", "limit_interval": "1ms"}) as it:
        limits = limits_of(it, rate="1/h")
        engine.stall()
        connected(limits)
        await until(lambda: limits.cluster.problem is not None)
        assert "no answer within 1 ms" in (limits.cluster.problem or "")
        assert it.node.rates.problem == limits.cluster.problem
        assert connected(limits, 9) == 3, "alone, it grants its own burst"
        exceeded = limits.connection(ADDRESS)
        assert exceeded is not None
        assert not exceeded.at_all_nodes
        it.now += 10  # for longer than `limit_interval`
        for _ in range(50):
            await asyncio.sleep(0)
        assert engine.made.count("spend") == 1, "no second command before the first is done"
        assert limits.cluster.counts == {"cluster": 1, "node": 3}
        it.node.settings = it.node.settings.model_copy(update={"limit_timeout": 1.0})
        engine.go_on()
        await until(lambda: limits.cluster.problem is None)
        assert engine.board.levels.spend([], 0) == []
        assert it.node.rates.counts == {"late": 1, "answered": 1}
        (level,) = (level for level, _, _ in engine.board.levels._levels.values())
        assert level == 4, "what was allowed meanwhile is told afterwards"


async def test_without_the_engine_a_node_counts_alone_and_keeps_nothing_for_later() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings=PATIENT) as it:
        limits = limits_of(it)
        engine.is_away = True
        await it.beat()
        assert connected(limits, 9) == 4
        assert limits.cluster.problem == it.node.contact.problem
        assert limits.cluster.counts == {"node": 4}
        assert len(limits.cluster) == 0
        engine.is_away = False
        await it.beat()
        assert limits.cluster.problem is None
        limits.connection("192.0.2.8")
        await told(it)
        assert len(engine.board.levels) == 1


async def test_a_node_that_starts_without_the_engine_says_why_it_counts_alone() -> None:
    engine = MemoryEngine(Board())
    engine.is_away = True
    async with beating(engine, settings=PATIENT) as it:
        limits = limits_of(it)
        assert limits.cluster.problem == it.node.contact.problem
        await it.beat()
        assert limits.cluster.problem == it.node.contact.problem
        engine.is_away = False
        await it.beat()
        assert limits.cluster.problem is None


async def test_a_node_that_ends_does_not_wait_until_all_is_told() -> None:
    async with asyncio.timeout(60):
        async with beating(settings={"limit_timeout": "1s", "limit_interval": "1s"}) as it:
            limits = limits_of(it)
            connected(limits)
            await told(it)
            connected(limits)
            assert len(limits.cluster) == 1
        assert len(limits.cluster) == 0
        assert limits.cluster.problem == "this node has left its cluster"


async def test_an_engine_that_lies_makes_nobody_wait_for_more_than_nodes_can_have_used() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings=PATIENT) as it:
        limits = limits_of(it)
        engine.lies["spend"] = [1e18]
        connected(limits)
        await told(it)
        exceeded = limits.connection(ADDRESS)
        assert exceeded is not None
        assert exceeded.delay_ns < 2 * (4 + 2 * 1.001 + 1) * 1e9
        del engine.lies["spend"]
        it.now += 20
        assert connected(limits) == 1


async def test_an_engine_that_refuses_is_asked_again_after_a_while() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings=PATIENT) as it:
        limits = limits_of(it)
        engine.lies["spend"] = ValueError("it is full")
        connected(limits)
        await until(lambda: engine.made.count("spend") == 1)
        await told(it)
        assert it.node.contact.state == "joined"


async def test_more_keys_than_may_wait_are_counted_alone() -> None:
    engine = MemoryEngine(Board())
    async with beating(engine, settings={**PATIENT, "limit_keys": 100}) as it:
        limits = limits_of(it)
        for number in range(150):
            limits.connection(f"192.0.2.{number}")
        assert len(limits.cluster) == 100
        assert limits.cluster.counts == {"cluster": 100, "dropped": 50}
        await told(it)
        assert len(limits.cluster) == 0


async def test_a_limit_that_each_node_counts_is_not_told() -> None:
    engine = MemoryEngine(Board())
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(beating(engine, settings=PATIENT))
        limits = limits_of(it, scope="node")
        connected(limits, 3)
        assert len(limits.cluster) == 0
        assert limits.cluster.counts == {}
