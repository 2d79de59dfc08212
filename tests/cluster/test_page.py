"""What docs/scaling.md has to be copied is right."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import yaml
from redis.asyncio import Redis

from appliance.cluster.commands import Commands
from appliance.cluster.engine import Beat
from appliance.cluster.limits.levels import Spent
from appliance.cluster.redis_engine import RedisEngine
from appliance.cluster.registry.engine import Owner, Page
from appliance.cluster.shared.leases import Wanted
from appliance.config.cluster import Cluster
from appliance.config.schema import Config
from tests.cluster.nodes import FACTS, GROUP, INFO, NOW_NS, claim
from tests.cluster.redis_server import redis_server
from tests.docs.pages import TOP

PAGE = (TOP / "docs" / "scaling.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_sections_of_the_page_are_valid() -> None:
    workers, nodes, limits = (Config.model_validate(yaml.safe_load(each)) for each in blocks("yaml"))
    assert workers.gateway.workers == "auto"
    assert nodes.cluster is not None
    assert nodes.cluster.node == "a"
    assert limits.rate_limits.connections_per_ip.scope == "cluster"


async def test_a_user_with_the_rules_of_the_page_may_do_all_that_a_node_does(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with Redis.from_url(server.url) as admin:
            (rules,) = blocks("text")
            assert await admin.execute_command(*rules.strip().replace("PASSWORD", "secret").split())

        async def read_password() -> str:
            return "secret"

        settings = {"url": server.url.replace("unix://", "unix://icws@"), "password_file": "x"}
        engine = RedisEngine(Cluster.model_validate(settings), read_password)
        await engine.connect()
        await engine.beat(Beat("a", "0" * 16, 1, FACTS, INFO))
        assert len(await engine.nodes()) == 1
        assert await engine.claim("a", "0" * 16, claim(group=b"x"), now_ns=NOW_NS, since_ms=NOW_NS) == "doubted"
        assert await engine.release("a", "0" * 16, GROUP) == "free"
        await engine.released("a", "0" * 16, GROUP)
        await engine.ring(b"ding")
        await listens(engine)
        await registers(engine)
        await shares(engine)
        assert await engine.spend([Spent(b"x", 1.0, 3)]) == [3]
        await engine.leave("a", "0" * 16)
        await engine.close()


async def registers(engine: RedisEngine) -> None:
    """What a node does about clients and dead nodes."""
    me, owner, registry = ("a", "0" * 16), Owner("b", "1" * 16), engine.registry
    assert await registry.write(*me, {b"x": b"0" * 16})
    assert [each.node for each in await registry.suspects()] == ["a"]
    assert not await registry.give_up(*me, owner, 30_000)
    assert await registry.clients(owner, b"") == Page({}, b"known 0")
    await registry.drop(owner, b"y")
    assert await registry.tell(*me, owner, b"x", GROUP, earlier_ms=0) == "taken"
    await registry.told(*me, owner, b"x", GROUP, is_told=True)
    assert await registry.returned(*me) == {}
    assert await registry.holds("0" * 16, [GROUP]) == [False]


async def shares(engine: RedisEngine) -> None:
    """What a node does about polls that nodes share."""
    me, queue, epoch = "0" * 16, b"x", "1" * 16
    assert [each.holder for each in await engine.lease(me, [Wanted(queue, epoch, "hold")])] == [me]
    assert await engine.put(me, queue, epoch, 1, b"entry", memory=1 << 20)
    assert (await engine.entries(queue, epoch, 0, max_bytes=100)).entries == (b"entry",)
    with suppress(TimeoutError):
        await asyncio.wait_for(engine.hear(lambda _: None), 0.2)


async def listens(engine: RedisEngine) -> None:
    """Whether it may subscribe: what is rung and what is told arrives."""
    heard: list[bytes] = []
    told: list[bytes] = []
    commands = Commands(4)
    listening = commands.run(lambda: engine.listen("0" * 16, heard.append, told.append), 0)
    try:
        await listening
    except Exception as error:
        assert "no answer" in str(error)  # noqa: PT017 - it listens on
    while not (heard and told):
        await engine.ring(b"ding")
        await engine.tell("0" * 16, b"come")
        assert commands.under_way, "the doorbell ended"
    await commands.finish(0)
