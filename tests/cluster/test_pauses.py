"""An endpoint that asks one node to be left alone is left alone by all behind the same address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.cluster.pauses import REMEMBERED
from appliance.cluster.rings import Pause, encode_pause
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import Beating, beating, until
from tests.cluster.registry.test_giving_up import Seal_of_another

URL = "https://icp-api.io"


@asynccontextmanager
async def two(own: str | None = None, others: str | None = None) -> AsyncIterator[tuple[Beating, Beating, Board]]:
    """Two nodes that know of each other, with names for the addresses that their requests come from."""
    board = Board()
    async with (
        beating(MemoryEngine(board), "a", settings={"outgoing": own}) as it,
        beating(MemoryEngine(board), "b", settings={"outgoing": others}) as other,
    ):
        for each in (it, other, it):
            await each.beat()
        yield it, other, board


@pytest.mark.parametrize("names", [(None, None), ("nat", "nat")])
async def test_the_other_node_leaves_it_alone_for_as_long(names):
    async with two(*names) as (it, other, _):
        it.node.pauses.asked(URL, 12.5)
        await until(lambda: other.local.paused)
        assert other.local.paused == [(URL, 12.5)]
        assert it.local.paused == []
        assert (it.node.pauses.counts, other.node.pauses.counts) == ({"told": 1}, {"heard": 1})
        assert (other.node.doorbell.counts["heard"], other.local.nudged) == (0, [])


async def test_a_node_behind_another_address_does_not():
    async with two("east", "west") as (it, other, _):
        it.node.pauses.asked(URL, 12.5)
        await until(lambda: other.node.pauses.counts["elsewhere"])
        assert other.local.paused == []


async def test_the_name_follows_the_configuration():
    async with two("east", "west") as (it, other, _):
        other.node.follow(other.node.settings.model_copy(update={"outgoing": "east"}))
        it.node.pauses.asked(URL, 1.0)
        await until(lambda: other.local.paused)


async def test_many_requests_that_are_refused_tell_it_once():
    async with two() as (it, other, _):
        for tenth in range(40):  # the rest of the same pause, and then half a second more
            it.node.pauses.asked(URL, 10.0 - tenth / 10)
        it.node.pauses.asked(URL, 10.5)
        it.node.pauses.asked("https://other", 0.2)
        await until(lambda: len(other.local.paused) == 3)
        assert other.local.paused == [(URL, 10.0), (URL, 10.5), ("https://other", 0.2)]
        assert it.node.pauses.counts == {"told": 3}


async def test_what_is_remembered_of_endpoints_has_a_bound():
    async with two() as (it, _, _):
        for number in range(REMEMBERED + 5):
            it.node.pauses.asked(f"https://{number}", 5.0)
        assert len(it.node.pauses._told) == REMEMBERED


async def test_a_node_that_is_alone_tells_nobody():
    async with beating() as it:
        await it.beat()
        it.node.pauses.asked(URL, 5.0)
        assert not it.node.pauses.counts


async def test_a_copy_and_a_forgery_do_nothing_and_are_counted():
    async with two() as (it, other, board):
        it.node.pauses.asked(URL, 5.0)
        await until(lambda: other.local.paused)
        for to, message in list(board.kept):
            board.send(to, message)
        foreign = Beating(MemoryEngine(Board()), seal=Seal_of_another())
        board.send("", encode_pause(foreign.node.seal, bytes(8), 1, Pause(bytes(16), 60.0, URL)))
        assert other.local.paused == [(URL, 5.0)]
        assert other.node.doorbell.counts["replayed"]
        assert other.node.doorbell.counts["forged"]
