"""Two real gateways with one identity, a real Redis and a localnet: copies of openings, moving clients, an engine that
goes away.
"""

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from appliance.cluster import contact, node
from appliance.crypto import SigningKey
from appliance.errors import IcUnreachable, NodeNameTaken, OpeningClaimed, OpeningOutdated
from appliance.gateway.journal import late_close_calls
from appliance.ic.key_file import create_identity
from appliance.localnet.net import Localnet
from tests.cluster.houses import House, Thief, keeping, node_of, two_nodes, until
from tests.cluster.redis_server import RedisServer, redis_server
from tests.gateway.players import Player, player, playing
from tests.network import Network

PATIENT = {"max_query_age": "1h"}
"""For tests that move the clock of the IC, and not that of the gateways."""


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that beat ten times as often, so that a test need not wait for the next beat."""
    monkeypatch.setattr(contact, "BEAT_S", contact.BEAT_S / 10)
    monkeypatch.setattr(node, "LIVING_S", 1.0)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def says(client: Player, text: str = "hello") -> None:
    """The session of this client works, both ways."""
    await client.say(text)
    assert await client.hear() == f"{text} ping"


async def without_engine(*networks: Network) -> None:
    await until(lambda: all(node_of(each.gateway).contact.state == "away" for each in networks))


async def with_engine(*networks: Network) -> None:
    await until(lambda: all(node_of(each.gateway).contact.state == "joined" for each in networks))


# --- a copy of an opening message -------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_a_copy_of_an_opening_opens_nothing_at_another_node(tmp_path, server, generation):
    async with (
        two_nodes(tmp_path, server.url, generation) as (_, first, second),
        player(first) as victim,
        playing(second),
    ):
        sent = keeping(victim)
        await victim.open()
        assert await victim.hear() == "ping"
        thief = Thief()
        await thief.replay(second, sent[0])
        assert thief.received == []
        assert thief.code == OpeningClaimed.close_code
        await until(lambda: not second.gateway.pending_close_calls)
        assert second.gateway.counters.farewells == 0
        assert await first.connected() == 2
        await says(victim)


async def test_a_copy_of_an_opening_opens_nothing_at_another_node_without_the_engine(tmp_path, server):
    async with two_nodes(tmp_path, server.url) as (_, first, second), player(first) as victim:
        server.kill()
        await without_engine(first, second)
        sent = keeping(victim)
        await victim.open()
        assert await victim.hear() == "ping"
        await second.localnet.fast_forward(5)  # the thief needs some seconds
        thief = Thief()
        await thief.replay(second, sent[0])
        assert thief.received == []
        assert thief.code == OpeningOutdated.close_code
        await until(lambda: not second.gateway.pending_close_calls)
        assert node_of(second.gateway).claims == {"unknown": 1}
        assert second.gateway.counters.farewells == 0
        await says(victim)


async def test_a_thief_who_leaves_at_once_ends_nothing_without_the_engine(tmp_path, server):
    async with two_nodes(tmp_path, server.url, verification=PATIENT) as (_, first, second), player(first) as victim:
        server.kill()
        await without_engine(first, second)
        sent = keeping(victim)
        await victim.open()
        assert await victim.hear() == "ping"
        await second.localnet.fast_forward(5)
        async with player(second) as thief:
            await thief.socket.recv()
            await thief.socket.send(sent[0])
            await until(lambda: second.gateway.counters.joined)
        await until(lambda: not len(second.listener) and not second.gateway.pending_close_calls)
        assert second.gateway.counters.farewells == 0
        await says(victim)


async def test_a_thief_who_waits_until_the_engine_is_back_ends_nothing(tmp_path, server):
    async with two_nodes(tmp_path, server.url, verification=PATIENT) as (_, first, second), player(first) as victim:
        server.kill()
        await without_engine(first, second)
        sent = keeping(victim)
        await victim.open()
        assert await victim.hear() == "ping"
        server.start()
        await with_engine(first, second)
        await second.localnet.fast_forward(5)
        async with player(second) as thief:
            await thief.socket.recv()
            await thief.socket.send(sent[0])
            await until(lambda: second.gateway.counters.joined)
        await until(lambda: not len(second.listener) and not second.gateway.pending_close_calls)
        assert second.gateway.counters.farewells == 0
        await says(victim)


@pytest.mark.parametrize("has_journal", [True, False])
async def test_a_copy_of_an_opening_opens_nothing_after_a_restart(tmp_path, server, has_journal):
    async with Localnet() as net:
        house = House(tmp_path, net, "v2", server.url)
        async with house.node("a") as before, player(before) as client:
            sent = keeping(client)
            await client.open()
        if not has_journal:
            (tmp_path / "identity.journal").unlink()
        async with house.node("a") as after:
            thief = Thief()
            await thief.replay(after, sent[0])
            assert thief.received == []
            assert 4500 <= (thief.code or 0) < 5000


# --- clients that move from one node to another -----------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["v0", "v1"])
async def test_a_session_that_moved_outlives_the_end_of_the_one_before(tmp_path, server, generation):
    async with two_nodes(tmp_path, server.url, generation) as (_, first, second):
        key = SigningKey.generate("ed25519")
        async with playing(first, key=key) as before, playing(second, key=key) as after:
            await before.socket.close()
            await until(lambda: not len(first.listener) and not first.gateway.pending_close_calls)
            assert first.gateway.counters.farewells == 0
            await says(after)
        await until(lambda: not second.gateway.pending_close_calls)
        assert second.gateway.counters.farewells == 1
        assert await second.connected() == (0 if generation == "v0" else 1)  # v1 keeps what was replaced for a while


async def test_a_session_that_moved_without_the_engine_outlives_the_one_before(tmp_path, server, monkeypatch):
    monkeypatch.setattr(late_close_calls, "RETRY_S", 0.01)
    async with two_nodes(tmp_path, server.url, "v0") as (_, first, second):
        key = SigningKey.generate("ed25519")
        async with playing(first, key=key) as before:
            server.kill()
            await without_engine(first, second)
            async with playing(second, key=key, is_registered=False) as after:
                await before.socket.close()
                await until(lambda: not len(first.listener) and not first.gateway.pending_close_calls)
                assert first.gateway.epochs.pending_late_close_calls == 1
                node_of(first.gateway)._closing.settle_s = 1e9
                server.start()
                await with_engine(first, second)
                await says(after)
                async with Redis.from_url(server.url) as raw:  # that a node has joined is seen before it has confirmed
                    while not await raw.keys("icws:main:place:*"):
                        await says(after)
                node_of(first.gateway)._closing.settle_s = 0.0
                await until(lambda: not first.gateway.epochs.pending_late_close_calls)
                assert first.gateway.counters.farewells == 0
                await says(after)


@pytest.mark.parametrize("generation", ["v0", "v1"])
async def test_a_client_that_left_without_the_engine_is_reported_once_it_is_back(
    tmp_path, server, monkeypatch, generation
):
    monkeypatch.setattr(late_close_calls, "RETRY_S", 0.01)
    async with two_nodes(tmp_path, server.url, generation) as (_, first, second):
        server.kill()
        await without_engine(first, second)
        async with playing(first):
            pass
        await until(lambda: first.gateway.epochs.pending_late_close_calls == 1)
        assert await first.connected() == 1
        server.start()
        await until(lambda: not first.gateway.epochs.pending_late_close_calls)
        assert await first.connected() == 0


# --- an engine that goes away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_an_engine_that_goes_away_under_traffic_costs_no_socket_and_no_message(tmp_path, server, end):
    async with two_nodes(tmp_path, server.url, patience="500ms") as (_, first, second):
        async with playing(first) as one, playing(second) as other:
            is_over = asyncio.Event()
            rounds = [0, 0]

            async def talks(number: int, client: Player) -> None:
                while not is_over.is_set():
                    await says(client, f"round {rounds[number]}")
                    rounds[number] += 1

            talking = [asyncio.ensure_future(talks(number, each)) for number, each in enumerate((one, other))]
            await until(lambda: min(rounds) >= 3)
            getattr(server, end)()
            await without_engine(first, second)
            before = list(rounds)
            await until(lambda: all(now >= then + 5 for now, then in zip(rounds, before, strict=True)))
            async with playing(first) as newcomer:
                await says(newcomer)
            (server.start if end == "kill" else server.go_on)()
            await with_engine(first, second)
            before = list(rounds)
            await until(lambda: all(now >= then + 5 for now, then in zip(rounds, before, strict=True)))
            is_over.set()
            await asyncio.gather(*talking)
        for network in (first, second):
            counters = network.gateway.counters
            assert not counters.refused
            assert not counters.lost


async def test_a_message_at_one_node_makes_the_other_poll(tmp_path, server):
    slow = {"min_interval": "60s", "max_interval": "60s"}
    async with (
        two_nodes(tmp_path, server.url, polling=slow) as (_, first, second),
        player(first) as one,
        player(second) as other,
    ):
        await one.open()
        await other.open()
        polls = second.gateway.counters.polls
        await one.say("hello")
        await until(lambda: second.gateway.counters.polls > polls)
        assert node_of(second.gateway).doorbell.counts["heard"]


async def test_an_endpoint_that_asks_one_node_to_be_left_alone_is_left_alone_by_the_other(tmp_path, server):
    async with two_nodes(tmp_path, server.url) as (house, first, second), playing(second) as client:
        one, other = house.transports["a"], house.transports["b"]
        (endpoint,) = one.endpoints
        one.failed(endpoint, IcUnreachable(endpoint.url, "HTTP 429", retry_after_s=3.0))
        await until(lambda: other.endpoints[0].closed_until_ns)
        assert other.pause_s() > 0
        assert node_of(first.gateway).pauses.counts["told"] == 1
        await says(client)  # after that


# --- starts that are refused ------------------------------------------------------------------------------------------


async def test_a_second_node_of_the_same_name_does_not_start(tmp_path, server):
    async with Localnet() as net:
        house = House(tmp_path, net, "v2", server.url)
        async with house.node("a"):
            with pytest.raises(NodeNameTaken):
                async with house.node("a"):
                    pass


async def test_an_engine_that_is_away_from_the_start_keeps_nobody_out(tmp_path, server):
    server.kill()
    async with Localnet() as net:
        house = House(tmp_path, net, "v2", server.url)
        async with house.node("a") as alone, playing(alone) as client:
            await says(client)
            assert node_of(alone.gateway).contact.state == "away"
            server.start()
            await with_engine(alone)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await client.socket.recv()


async def test_a_node_with_another_key_does_not_start(tmp_path, server):
    async with Localnet() as net:
        house = House(tmp_path, net, "v2", server.url)
        other = tmp_path / "other"
        other.mkdir()
        create_identity(other / "identity.pem")
        async with house.node("a"):
            with pytest.raises(Exception, match="the principal"):
                async with House(other, net, "v2", server.url).node("b"):
                    pass
