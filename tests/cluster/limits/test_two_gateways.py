"""Two real gateways and a real Redis on loopback count the connections of an address together."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.cluster.houses import node_of, two_nodes, until
from tests.cluster.redis_server import RedisServer, redis_server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def allowed(network: Any) -> str | None:
    """Connect once; returns why not, if that is refused."""
    try:
        async with connect(network.url, compression=None):
            return None
    except InvalidStatus as error:
        return f"{error.response.status_code} {bytes(error.response.body or b'').decode()}"


async def test_an_address_has_one_allowance_at_both_nodes_and_one_each_without_the_engine(tmp_path, server):
    limit = {"rate": "1/h", "burst": 4, "scope": "cluster"}
    async with two_nodes(tmp_path, server.url, rate_limits={"connections_per_ip": limit}) as (_, first, second):
        rates = [node_of(each.gateway).rates for each in (first, second)]
        for each in rates:
            node = each._node
            node.settings = node.settings.model_copy(update={"limit_timeout": 1.0, "limit_interval": 0.001})
        for network, its in zip((first, second, first, second), rates * 2, strict=True):
            before = its.counts["answered"]
            assert await allowed(network) is None
            await until(lambda its=its, before=before: its.counts["answered"] > before)
        why = await allowed(second)
        assert why is not None
        assert why.startswith("429 rate limit exceeded: connections at all nodes 1/h, burst 4; retry in")
        server.kill()
        await until(lambda: node_of(first.gateway).contact.state == "away")
        why = await allowed(first)
        if why is not None:  # it knew of the last connection at the other node, or not
            assert "at all nodes" not in why
        else:
            assert await allowed(first) is not None
