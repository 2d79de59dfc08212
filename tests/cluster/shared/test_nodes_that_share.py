"""Real gateways that share the polls of a canister of a localnet over a real Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.cluster import contact, node
from appliance.cluster.shared import shared_polls
from appliance.localnet.http.server import HttpInterface
from tests.cluster.houses import House, node_of, nodes_of, until
from tests.cluster.redis_server import RedisServer, redis_server
from tests.gateway.players import Player, playing
from tests.network import Generation, Network


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that beat more often, so that a test need not wait for the next beat."""
    monkeypatch.setattr(contact, "BEAT_S", contact.BEAT_S / 10)
    monkeypatch.setattr(node, "LIVING_S", 1.0)
    monkeypatch.setattr(shared_polls, "BEAT_S", shared_polls.BEAT_S / 10)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The queries that reach the localnet, by method."""
    counts: Counter[str] = Counter()
    answer = HttpInterface._answer_query

    def counted(self: HttpInterface, request: Any, version: int) -> Any:
        counts[request.method_name] += 1
        return answer(self, request, version)

    monkeypatch.setattr(HttpInterface, "_answer_query", counted)
    return counts


def role_of(network: Network) -> str:
    [role] = node_of(network.gateway).polls.roles
    return role


@asynccontextmanager
async def sharing(
    folder: Path, server: RedisServer, generation: Generation = "v2", names: str = "abc", **sections: Any
) -> AsyncIterator[tuple[House, list[Network], list[Player]]]:
    """Nodes with a client each. One of them asks, the others follow."""
    sections.setdefault("share_polls", "always")
    async with (
        nodes_of(names, folder, server.url, generation, **sections) as (house, networks),
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(playing(network)) for network in networks]
        await shared(networks)
        yield house, networks, clients


async def shared(networks: list[Network]) -> None:
    await until(lambda: sorted(map(role_of, networks)) == ["asking", *["following"] * (len(networks) - 1)])


async def rounds(clients: list[Player], number: int) -> None:
    for each in range(number):
        await asyncio.gather(*(client.say(f"{each}") for client in clients))
        for client in clients:
            assert await client.hear() == f"{each} ping"


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_the_ic_sees_the_polls_of_one_node_and_the_audits(tmp_path, server, polled, generation):
    async with sharing(tmp_path, server, generation) as (_, networks, clients):
        counters = [network.gateway.counters for network in networks]
        before, begun, own = polled["ws_get_messages"], time.monotonic(), [each.polls for each in counters]
        await rounds(clients, 40)
        seen, passed_s = polled["ws_get_messages"] - before, time.monotonic() - begun
        made = [each.polls - polls for each, polls in zip(counters, own, strict=True)]
        following = [polls for polls, network in zip(made, networks, strict=True) if role_of(network) == "following"]
        assert abs(seen - sum(made)) <= len(networks), "but for those that are under way"
        audits = passed_s / node_of(networks[0].gateway).settings.audit_interval + 1
        # v1 does not say that a page has the end of the queue, so an audit that finds a message asks once more.
        assert all(polls <= audits * (1 if generation == "v2" else 3) for polls in following)
        counts = [node_of(network.gateway).polls.counts for network in networks]
        assert sum(each["taken"] for each in counts) >= 40
        assert not any(each[bad] for each in counts for bad in ("forged", "replayed", "unverified", "ended"))
        assert all(each.lost == 0 for each in counters)


async def test_clients_of_v0_share_as_well(tmp_path, server, polled):
    async with sharing(tmp_path, server, "v0", "ab") as (_, networks, clients):
        await rounds(clients, 10)
        assert sum(node_of(network.gateway).polls.counts["taken"] for network in networks) > 0


async def test_without_the_engine_nothing_is_lost(tmp_path, server):
    async with sharing(tmp_path, server, patience="1s") as (_, networks, clients):
        await rounds(clients, 3)
        server.kill()
        await rounds(clients, 5)
        await until(lambda: all(role_of(network) == "alone" for network in networks))
        await rounds(clients, 5)
        server.start()
        await shared(networks)
        await rounds(clients, 5)
        assert all(network.gateway.counters.lost == 0 for network in networks)


async def test_an_engine_that_stands_still_is_waited_for_no_longer_than_a_lease(tmp_path, server):
    async with sharing(tmp_path, server, patience="1s") as (_, networks, clients):
        server.stop()
        await rounds(clients, 5)
        assert all(role_of(network) == "alone" for network in networks)
        server.go_on()
        await shared(networks)
        await rounds(clients, 5)


async def test_the_next_node_asks_when_the_one_that_did_stops(tmp_path, server):
    async with (
        nodes_of("ab", tmp_path, server.url, share_polls="always") as (house, networks),
        AsyncExitStack() as stack,
    ):
        async with house.node("c", share_polls="always") as third, playing(third):
            await until(lambda: role_of(third) == "asking")
            clients = [await stack.enter_async_context(playing(network)) for network in networks]
            await until(lambda: all(role_of(network) == "following" for network in networks))
            await rounds(clients, 3)
        await rounds(clients, 3)
        await shared(networks)
        await rounds(clients, 3)


async def test_a_flushed_engine_costs_polls_only(tmp_path, server):
    async with sharing(tmp_path, server) as (_, networks, clients):
        for _ in range(4):
            await node_of(networks[0].gateway)._engine._redis.flushall()
            await rounds(clients, 3)
        await shared(networks)


@pytest.mark.parametrize("spoil", ["altered", "moved"])
async def test_an_engine_that_alters_entries_closes_nothing_and_is_found_out(tmp_path, server, spoil):
    async with sharing(tmp_path, server, names="ab") as (_, networks, clients):
        follower = next(network for network in networks if role_of(network) == "following")
        engine: Any = node_of(follower.gateway)._engine
        read, kept = engine._leases._reads.script, list[bytes]()

        async def spoiled(*args: Any) -> Any:
            found = await read(*args)
            kept.extend(found[3:])
            if found[3:]:
                found[3:] = [each[:-1] + b"?" if spoil == "altered" else kept[0] for each in found[3:]]
            return found

        await rounds(clients, 2)
        engine._leases._reads.script = spoiled
        await rounds(clients, 4)
        polls = node_of(follower.gateway).polls
        assert polls.roles == {"ended": 1}
        assert polls.counts["forged" if spoil == "altered" else "replayed"] == 1
        assert all(network.gateway.counters.lost == 0 for network in networks)
        assert "by itself" in (polls.problem or "")


async def test_auto_shares_where_all_nodes_would_exceed_the_budget(tmp_path, server):
    busy = {"budget": "1/s", "min_interval": "5ms", "max_interval": "20ms"}
    async with sharing(tmp_path, server, names="ab", share_polls="auto", polling=busy) as (_, networks, _clients):
        assert {role_of(network) for network in networks} == {"asking", "following"}
