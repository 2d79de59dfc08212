"""A real gateway at a node: what becomes of a place whose opening failed."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.crypto import SigningKey
from appliance.gateway.nodes import Place
from appliance.ic.identity import KeyIdentity
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import Beating, claim
from tests.cluster.shared.world import rest
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client
from tests.gateway.fake_ic import err
from tests.gateway.of_v1 import V1, of_v1, opened_v1


@asynccontextmanager
async def bench_and_another() -> AsyncIterator[tuple[Bench, Beating, Beating]]:
    """A gateway, its node, and another node."""
    board = Board()
    own, other = (Beating(MemoryEngine(board), name, settle_s=0, clock=time.time_ns) for name in "ab")
    async with Bench(nodes=own.node, **V1) as bench, own.node.running(), other.node.running():
        yield bench, own, other


def place_of(key: SigningKey) -> Place:
    return Place(CANISTER, bytes(KeyIdentity(key).principal))


async def refused(bench: Bench, key: SigningKey) -> None:
    """A client whose opening the canister refuses."""
    before, bench.canister.on_open = bench.canister.on_open, lambda key: err("not now")
    shell = of_v1(bench)
    shell.receive(Client(key=key).open())
    await until(lambda: shell.is_gone and not bench.gateway.pending_close_calls)
    bench.canister.on_open = before


async def test_a_place_that_a_refused_opening_took_is_given_back() -> None:
    key = SigningKey.generate("ed25519")
    async with bench_and_another() as (bench, own, other):
        # The other node has a session of the principal.
        assert await other.node.claim(claim(b"", group=place_of(key).group)._replace(place=place_of(key)), print)
        await refused(bench, key)
        await rest()
        assert own.engine.made.count("released") == 1
        assert await other.node.release(place_of(key)) == "free"


async def test_a_place_is_kept_while_another_session_of_it_is_here() -> None:
    key = SigningKey.generate("ed25519")
    async with bench_and_another() as (bench, own, other):
        _, shell = await opened_v1(bench, key)
        await refused(bench, key)
        await rest()
        assert "release" not in own.engine.made
        assert await other.node.release(place_of(key)) == "taken"
        assert shell.error is None
        shell.lose()
        await until(lambda: not bench.gateway.pending_close_calls)
        await rest()
        assert await other.node.release(place_of(key)) == "free"
