"""Blocks: what is executed, when, how often and in which order. The clock is moved by hand but in the last test."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.localnet.replica import rounds
from appliance.localnet.subnet import subnet
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.wasm.canister import WasmCanister
from tests.localnet.machine import SECOND
from tests.localnet.subnet.fleet import MS, Fleet, calm
from tests.localnet.wasm.modules import COUNTER, module
from tests.network import mainnet_like

POSTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(0, 1500)), max_size=15)
"""Posts as (replica, number of the call, milliseconds after the post before)."""


def history(conditions: Conditions, posts: list[tuple[int, int, int]]) -> list[object]:
    """Everything that users of a network can see, after each post and some time later."""
    fleet, seen = Fleet(conditions), list[object]()
    requests = [fleet.add(str(number)) for number in range(6)]
    for replica, number, wait_ms in posts:
        fleet.nodes[replica].submit(requests[number])
        fleet.clock.advance(wait_ms * MS)
        node = fleet.subnet.pick()
        seen.append((node.number, node.height, fleet.journal(node), node.certificate([[b"canister"]], "sharded")))
    fleet.clock.advance(5 * SECOND)
    return [*seen, fleet.journal(), [node.height for node in fleet.nodes]]


@settings(max_examples=20)
@given(POSTS)
def test_the_same_seed_has_the_same_history(posts: list[tuple[int, int, int]]) -> None:
    assert history(calm(), posts) == history(calm(), posts)


def test_other_seeds_have_other_histories() -> None:
    posts = [(number % 13, number % 6, 40) for number in range(30)]
    histories = [history(replace(calm(), seed=bytes([seed])), posts) for seed in range(5)]
    assert all(histories.count(each) == 1 for each in histories)


@settings(max_examples=40)
@given(POSTS)
def test_every_call_is_executed_exactly_once_however_often_and_wherever_it_is_posted(
    posts: list[tuple[int, int, int]],
) -> None:
    *_, journal, _ = history(calm(), posts)
    assert isinstance(journal, list)
    assert sorted(journal) == sorted({str(number) for _, number, _ in posts})


def test_calls_of_a_block_are_executed_and_certified_at_its_time() -> None:
    fleet = Fleet(calm(gossip_s=(0.0, 0.0), lag_blocks=0.0))
    for number in range(3):
        fleet.nodes[number].submit(fleet.add(str(number)))
        fleet.clock.advance(300 * MS)
    assert fleet.journal() == fleet.journal(fleet.nodes[5]) == []
    fleet.clock.advance(99 * MS)
    assert fleet.journal() == []
    fleet.clock.advance(1 * MS)
    assert fleet.journal() == fleet.journal(fleet.nodes[5]) == ["0", "1", "2"]


def test_calls_that_are_far_enough_apart_keep_their_order_through_any_replica() -> None:
    fleet = Fleet()
    for number in range(60):
        fleet.nodes[number * 7 % 13].submit(fleet.add(str(number)))
        fleet.clock.advance(81 * MS)
    fleet.clock.advance(2 * SECOND)
    assert fleet.journal() == [str(number) for number in range(60)]


def test_calls_sent_at_once_swap_now_and_then() -> None:
    fleet = Fleet()
    for number in range(60):
        fleet.nodes[0].submit(fleet.add(str(number)))
    fleet.clock.advance(2 * SECOND)
    assert fleet.journal() != [str(number) for number in range(60)]


def test_more_calls_than_a_block_takes_are_in_the_next() -> None:
    fleet = Fleet(calm(replicas=1, lag_blocks=0.0, gossip_s=(0.0, 0.0)))
    for number in range(1001):
        fleet.nodes[0].submit(fleet.add(str(number)))
    fleet.clock.advance(1 * SECOND)
    assert len(fleet.journal()) == 1000
    fleet.clock.advance(1 * SECOND)
    assert len(fleet.journal()) == 1001


def test_a_block_ends_after_enough_work_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(calm(replicas=1, lag_blocks=0.0, gossip_s=(0.0, 0.0)), WasmCanister(module(COUNTER)))
    for each in (rounds, subnet):
        monkeypatch.setattr(each, "ROUND_INSTRUCTIONS", 1)
    requests = [fleet.request("call", "add") for _ in range(3)]
    for request in requests:
        fleet.nodes[0].submit(request)
    for done in (1, 2, 3):
        fleet.clock.advance(SECOND)
        assert [fleet.status(fleet.nodes[0], request) for request in requests].count(b"replied") == done


def test_a_clock_that_is_moved_far_makes_every_block_on_the_way() -> None:
    fleet = Fleet()
    before = fleet.replica.state.height
    fleet.clock.advance(600 * SECOND)
    assert fleet.replica.state.height == before + 600


def test_a_clock_that_jumps_makes_one_block() -> None:
    """As the clock of the machine does when a user moves it: nothing is called on the way."""
    fleet = Fleet()
    fleet.clock.advance(10 * SECOND)
    before = fleet.replica.state.height
    fleet.clock._now_ns += 3600 * SECOND
    fleet.clock.advance(0)
    assert fleet.replica.state.height == before + 1
    fleet.clock.advance(3 * SECOND)
    assert fleet.replica.state.height == before + 4


async def test_a_stopped_subnet_makes_no_blocks() -> None:
    fleet = Fleet()
    fleet.clock.advance(SECOND)
    async with fleet.subnet:
        fleet.clock.advance(SECOND)
        height = fleet.replica.state.height
    fleet.clock.advance(10 * SECOND)
    assert fleet.replica.state.height == height


async def test_settling_waits_for_what_replicas_have_received() -> None:
    fleet = Fleet()
    fleet.nodes[4].submit(fleet.add("x"))
    await fleet.waiting(fleet.subnet.settle())
    assert fleet.journal() == ["x"]


async def test_a_conversation_through_a_gateway() -> None:
    async with mainnet_like(1) as network, network.connect() as client:
        assert (await client.receive()).value["text"] == "ping"  # type: ignore[index]
        for number in range(3):
            await client.send({"text": str(number), "timestamp": 0})
            assert (await client.receive()).value["text"] == f"{number} ping"  # type: ignore[index]
