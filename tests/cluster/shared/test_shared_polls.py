"""Nodes that share the polls of a canister, on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from appliance.cluster.commands import Commands
from appliance.cluster.shared import shared_polls
from appliance.cluster.shared.leases import LEASE_MS, Mode
from appliance.cluster.shared.stream import ENDED_S, OWED_S
from appliance.errors import EngineAway
from appliance.gateway.sharing import Answer
from appliance.ic.principal import Principal
from tests.cluster.shared.world import Node, World, rest
from tests.gateway.clients import GATEWAY


@asynccontextmanager
async def sharing(names: str = "abc", **options: Any) -> AsyncIterator[World]:
    """A world in which each node has a client, one node asks, and the others follow."""
    world = World(names, **options)
    try:
        for name, node in world.nodes.items():
            await node.open_client(name.encode())
        await world.go_on(5)
        assert not world.missing()
        assert len(world.asking) == 1
        assert all(node.polls.roles["following"] for name, node in world.nodes.items() if name != world.asking[0])
        yield world
    finally:
        await world.close()


def others(world: World) -> list[Any]:
    return [node for name, node in world.nodes.items() if name not in world.asking]


async def test_one_node_asks_and_the_others_take_what_it_got() -> None:
    async with sharing() as world:
        before = {name: node.asked for name, node in world.nodes.items()}
        for _ in range(40):
            for client in world.clients:
                world.write(client)
            await world.go_on(0.5)
            assert not world.missing()
        asked = {name: node.asked - before[name] for name, node in world.nodes.items()}
        [asking] = world.asking
        assert asked.pop(asking) > 100
        assert all(polls <= 20 / world.settings.audit_interval + 1 for polls in asked.values())
        assert world.counts["taken"] >= 80
        assert not world.counts["gap"]


async def test_the_next_node_asks_where_the_one_that_asked_died() -> None:
    async with sharing() as world:
        [asking] = world.asking
        await world.nodes[asking].die()
        for _ in range(10):
            for client in world.clients:
                world.write(client)
            await world.go_on(0.5)
        await world.go_on(1)
        assert not world.missing()
        assert len(world.asking) == 1


async def test_a_node_whose_polls_fail_asks_for_nobody() -> None:
    async with sharing() as world:
        [asking] = world.asking
        world.nodes[asking].is_failing = True
        await world.go_on(3)
        assert world.asking != [asking]
        for client in world.clients:
            world.write(client)
        await world.go_on(1)
        assert not world.missing(), "what the others get is enough for it"


async def test_what_others_get_shortens_no_back_off() -> None:
    async with sharing() as world:
        failing = next(node for name, node in world.nodes.items() if name not in world.asking)
        failing.is_failing = True
        failing.position.opening_began()  # so that it has to ask for itself
        await world.go_on(3)
        asked = failing.asked
        for _ in range(20):
            world.write(world.clients[0])
            await world.go_on(0.1)
        assert failing.asked - asked <= 2


async def test_without_the_engine_each_node_asks_at_once() -> None:
    async with sharing() as world:
        for node in world.nodes.values():
            node.engine.is_away = True
        await world.go_on(0.5)
        for client in world.clients:
            world.write(client)
        await world.go_on(0.2)
        assert not world.missing()


async def test_what_was_read_while_a_node_stood_alone_is_asked_for_by_the_others() -> None:
    """The engine was away for one beat, and the lease did not end meanwhile."""
    async with sharing() as world:
        asking = world.nodes[world.asking[0]]
        asking.engine.is_away = True
        await asking.beat()
        asking.engine.is_away = False
        for client in world.clients:
            world.write(client)
        await asking.poller.poll()
        await world.go_on(2 * world.settings.audit_interval + OWED_S)
        assert not world.missing()
        assert not world.counts["ended"]


async def test_what_was_read_before_a_node_knew_of_another_is_asked_for_by_that_one() -> None:
    world = World("a")
    [asking] = world.nodes.values()
    await asking.open_client(b"a")
    await world.go_on(5)
    other = world.nodes["b"] = Node(world, "b")
    await asking.beat()
    await asking.beat()
    assert world.asking == ["a"]
    await other.open_client(b"b")
    await other.poller.poll()
    await other.beat()
    assert other.polls.roles["following"]
    await other.turn()
    for client in world.clients:
        world.write(client)
    await asking.poller.poll()
    await world.go_on(2 * world.settings.audit_interval + OWED_S)
    assert not world.missing()
    assert not world.counts["ended"]
    await world.close()


class StandsStill(Commands):
    """Each command takes its whole time, which passes at once."""

    def __init__(self, world: World) -> None:
        super().__init__(32)
        self.world = world

    async def run(self, command: Any, within_s: float, **options: Any) -> Any:
        self.world.pass_time(within_s)
        raise EngineAway(f"no answer within {within_s:g} s")


class OtherQueue:
    """The poller of another canister."""

    demand = 1.0
    can_hold = True

    def shared_changed(self) -> None: ...


@pytest.mark.parametrize("queues", [1, 4])
async def test_an_engine_that_stands_still_holds_up_the_messages_for_the_time_of_a_lease(
    queues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_polls, "AT_ONCE", 1)
    async with sharing() as world:
        for number in range(1, queues):
            for node in world.nodes.values():
                node.polls.share(GATEWAY, Principal(bytes([number])), OtherQueue())
        await world.go_on(2)
        [node, *_] = others(world)
        following = node.polls.roles["following"]
        leased = min(each._leased_until for each in node.polls._streams.values() if each.role == "following")
        for client in world.clients:
            world.write(client)
        node.commands = StandsStill(world)
        while world.now_s < leased:
            await node.beat()
        assert world.now_s == pytest.approx(leased), "a beat waits for no longer than the lease lasts"
        assert node.polls.roles["following"] < following
        for _ in range(10):
            await node.beat()
        assert not node.polls.roles["following"]
        await node.turn()
        assert all(client.received == client.sent for client in node.clients.values())


async def test_an_engine_that_lost_everything_costs_polls_and_no_message() -> None:
    async with sharing() as world:
        for _ in range(6):
            for client in world.clients:
                world.write(client)
            world.board.flush()
            await world.go_on(0.7)
        await world.go_on(1)
        assert not world.missing()
        assert len(world.asking) == 1


async def test_entries_that_were_trimmed_are_asked_for() -> None:
    async with sharing() as world:
        for node in others(world):
            node.engine.is_deaf = True
        for client in world.clients:
            world.write(client)
        [asking] = world.asking
        for _ in range(3):
            world.pass_time(0.06)
            await world.nodes[asking].turn()
            for client in world.clients:
                world.write(client)
        world.board.leases.trim(0, world.board.now_ms)
        await world.go_on(1.5)
        assert not world.missing()
        assert world.counts["trimmed"] == 2


async def test_what_is_heard_by_nobody_is_read_with_the_next_beat() -> None:
    async with sharing() as world:
        for node in world.nodes.values():
            node.engine.is_deaf = True
        before = {name: node.asked for name, node in world.nodes.items()}
        for client in world.clients:
            world.write(client)
        await world.go_on(0.8)
        assert not world.missing()
        assert sum(node.asked - before[name] for name, node in world.nodes.items() if name not in world.asking) <= 2


async def test_what_is_got_while_a_read_is_under_way_is_written_after_it() -> None:
    async with sharing("ab") as world:
        [node] = others(world)
        stream, written = next(iter(node.polls._streams.values())), node.polls.counts["written"]
        node.engine.stall()
        node.polls._read(stream)
        await rest()
        take_over(world, node, stream)
        take_over(world, node, stream)  # the engine has heard that it knows
        stream.asked(1, Answer(b"query", b"reply"), is_plain=True, has_more=False)
        node.engine.go_on()
        await rest()
        assert node.polls.counts["written"] == written + 1


async def test_what_is_got_before_the_engine_knows_who_asks_is_written_with_the_next_beat() -> None:
    async with sharing("ab") as world:
        [node] = others(world)
        stream, written = next(iter(node.polls._streams.values())), node.polls.counts["written"]
        take_over(world, node, stream)
        stream.asked(1, Answer(b"query", b"reply"), is_plain=True, has_more=False)
        await node.beat()
        assert node.polls.counts["written"] == written + 1


def take_over(world: World, node: Any, stream: Any) -> None:
    """This node asks from now on."""
    wanted = stream.wanted()
    mode: Mode = "hold" if stream.role == "asking" else "seize"
    [lease] = world.board.leases.lease(node.incarnation, [wanted._replace(mode=mode)], world.board.now_ms)
    assert not stream.leased(wanted, lease, node.incarnation, world.now_s + LEASE_MS / 1000)
    assert stream.role == "asking"


async def test_an_engine_that_stood_still_for_longer_than_a_lease_is_believed_again() -> None:
    async with sharing("ab") as world:
        [node] = others(world)
        for client in world.clients:
            world.write(client)
        await world.go_on(1)
        [stream] = node.polls._streams.values()
        assert stream.number
        world.pass_time(2)  # the engine goes on with the beat of the node that asks
        [asking] = world.asking
        await world.nodes[asking].beat()
        node.polls._read(stream)
        await rest()
        assert node.polls.problem is None
        for client in world.clients:
            world.write(client)
        await world.go_on(2)
        assert not world.missing()
        assert node.polls.roles == {"following": 1}


async def test_a_newcomer_is_asked_for_by_its_own_node() -> None:
    async with sharing() as world:
        node = others(world)[0]
        await node.open_client(b"newcomer")
        await world.go_on(0.3)
        assert not world.missing()
        await world.go_on(1)
        before = node.asked
        world.write(node.clients[b"newcomer"])
        await world.go_on(0.2)
        assert not world.missing()
        assert node.asked - before <= 1


async def test_entries_are_not_missed_while_a_newcomer_waits_for_its_first_message() -> None:
    async with sharing() as world:
        node = others(world)[0]
        node.position.opening_began()
        for _ in range(2 * round(OWED_S)):
            for client in world.clients:
                world.write(client)
            await world.go_on(1)
        node.position.opening_ended()
        await world.go_on(1)
        assert not world.missing()
        assert node.polls.roles == {"following": 1}


async def test_a_node_that_is_pages_behind_is_owed_nothing_of_them() -> None:
    async with sharing("ab", page_size=2) as world:
        [node] = others(world)
        world.board.leases.trim(0, world.board.now_ms)
        node.engine.is_deaf = True
        for _ in range(9):
            world.write(world.clients[0])
        [asking] = world.asking
        for _ in range(6):
            world.pass_time(0.06)
            await world.nodes[asking].turn()
        world.board.leases.trim(0, world.board.now_ms)
        await world.go_on(world.settings.audit_interval + OWED_S)
        assert not world.missing()
        assert node.polls.roles == {"following": 1}


async def test_a_node_without_a_position_asks_until_it_has_one() -> None:
    async with sharing("ab") as world:
        for client in world.clients:
            world.write(client)
        await world.go_on(1)
        late = world.nodes["c"] = Node(world, "c")
        await late.open_client(b"c")
        await world.go_on(2)
        assert not world.missing()
        assert late.polls.roles == {"following": 1}


async def test_a_queue_that_restarted_is_asked_for_by_the_node_that_knows() -> None:
    async with sharing() as world:
        for _ in range(30):
            world.write(world.clients[0])
        await world.go_on(1)
        node = others(world)[0]
        old = list(world.clients)
        world.restart()
        await node.open_client(b"newcomer")
        await world.go_on(1.5)
        assert not world.missing()
        newcomer = node.clients[b"newcomer"]
        for _ in range(4):
            world.write(newcomer)
            await world.go_on(0.5)
        assert not world.missing()
        assert all(client.told for client in old), "the entries show the other nodes that the canister forgot them"


# --- an engine that lies ----------------------------------------------------------------------------------------------


async def test_entries_that_never_come_end_the_sharing_of_the_canister() -> None:
    async with sharing() as world:
        follower = others(world)[0]
        frozen = follower.engine.board.leases
        [stream] = follower.polls._streams.values()
        own = next(node for name, node in world.nodes.items() if name in world.asking)
        follower.engine.lies["entries"] = frozen.entries(
            stream.queue, stream.epoch, stream.number, max_bytes=1, now_ms=world.board.now_ms
        )
        lease = follower.engine.board.leases.lease(follower.incarnation, [stream.wanted()], world.board.now_ms)
        follower.engine.lies["lease"] = lease
        del own
        for client in world.clients:
            world.write(client)
        await world.go_on(world.settings.audit_interval + 0.1)
        assert not world.missing(), "the node's own poll finds them"
        await world.go_on(OWED_S + 1)
        assert follower.polls.roles == {"ended": 1}
        assert "never came" in (follower.polls.problem or "")
        world.write(next(iter(follower.clients.values())))
        await world.go_on(0.2)
        assert not world.missing()
        follower.engine.lies.clear()
        await world.go_on(ENDED_S, 0.5)
        assert follower.polls.problem is None
        assert follower.polls.roles == {"following": 1}


async def spoiled(world: World, change: Any) -> Any:
    """A follower that reads what the engine has made of the entries."""
    follower = others(world)[0]
    for client in world.clients:
        world.write(client)
    leases = world.board.leases
    follower.engine.is_deaf = True
    [asking] = world.asking
    world.pass_time(0.11)
    await world.nodes[asking].turn()
    for key, entry in leases._entries.items():
        leases._entries[key] = change(key, entry)
    before = follower.position.next_nonce
    [stream] = follower.polls._streams.values()
    follower.polls._read(stream)
    await rest()
    assert follower.polls.roles == {"ended": 1}
    assert follower.position.next_nonce == before
    await world.go_on(0.3)
    assert not world.missing()
    assert not any(client.told for client in world.clients)
    return follower.polls.counts


async def test_a_forged_entry_delivers_nothing_and_closes_nothing() -> None:
    async with sharing() as world:
        counts = await spoiled(world, lambda _, entry: entry[:-1] + bytes([entry[-1] ^ 1]))
        assert counts["forged"] == 1


async def test_a_replayed_entry_delivers_nothing_and_closes_nothing() -> None:
    async with sharing() as world:
        first: list[bytes] = []

        def the_first(key: Any, entry: bytes) -> bytes:
            first.append(entry)
            return first[0]

        world.write(world.clients[0])
        await world.go_on(0.5)
        counts = await spoiled(world, the_first)
        assert counts["replayed"] == 1


async def test_an_entry_of_another_schema_is_not_read() -> None:
    async with sharing() as world:
        counts = await spoiled(world, lambda _, entry: b"\x07" + entry[1:])
        assert counts["unknown"] == 1
