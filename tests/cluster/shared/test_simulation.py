"""Seeded nodes, engines and replicas that do what they may: each message comes exactly once and in order, or its client
is told; and an engine that only fails is not taken for one that lies.

What is checked with each delivery is in ``world``. At the end everything works again for as long as an own poll of each
node takes to come, and nobody may wait for anything then.
"""

import asyncio
import os
import random
from typing import Any

import pytest

from tests.cluster.shared.world import Node, World, seeded

SEEDS = int(os.environ.get("ICWS_SHARED_SEEDS", "60"))
STEPS = 120
WEIGHTS = {
    "write": 30,
    "turn": 40,
    "beat": 20,
    "tick": 30,
    "open": 4,
    "leave": 2,
    "behind": 4,
    "restart": 1,
    "away": 2,
    "back": 3,
    "deaf": 2,
    "flush": 1,
    "trim": 2,
    "forge": 1,
    "replay": 1,
    "fail": 1,
    "die": 1,
    "born": 1,
}
HONEST = {what: weight for what, weight in WEIGHTS.items() if what not in ("forge", "replay")}


class Run:
    def __init__(self, seed: int) -> None:
        self.chance = seeded(seed)
        self.world = World("abcdefg"[: self.chance.randint(2, 5)], page_size=self.chance.choice([1, 3, 50]))
        self.opened = 0

    async def do(self, weights: dict[str, int]) -> None:
        for what in self.chance.choices(list(weights), list(weights.values()), k=STEPS):
            await getattr(self, f"_{what}")()

    def _node(self) -> Any:
        return self.chance.choice([node for node in self.world.nodes.values() if node.is_alive])

    async def _write(self) -> None:
        if self.world.clients:
            self.world.write(self.chance.choice(self.world.clients))

    async def _turn(self) -> None:
        await self._node().turn()

    async def _beat(self) -> None:
        await self._node().beat()

    async def _tick(self) -> None:
        self.world.pass_time(self.chance.choice([0.02, 0.1, 0.6]))

    async def _open(self) -> None:
        self.opened += 1
        await self._node().open_client(b"%d" % self.opened)

    async def _leave(self) -> None:
        node = self._node()
        if node.clients:
            node.leave(self.chance.choice(list(node.clients)))

    async def _behind(self) -> None:
        self._node().behind = self.chance.choice([0, 0, 1, 4])

    async def _restart(self) -> None:
        self.world.restart()

    async def _away(self) -> None:
        self._node().engine.is_away = True

    async def _back(self) -> None:
        self._node().engine.is_away = False

    async def _deaf(self) -> None:
        node = self._node()
        node.engine.is_deaf = not node.engine.is_deaf

    async def _flush(self) -> None:
        self.world.board.flush()

    async def _trim(self) -> None:
        leases = self.world.board.leases
        leases.trim(leases.size // 2, self.world.board.now_ms)

    async def _forge(self) -> None:
        entries = self.world.board.leases._entries
        for key in list(entries)[-2:]:
            entries[key] = entries[key][:-1] + b"?"

    async def _replay(self) -> None:
        entries = self.world.board.leases._entries
        for key in list(entries)[-2:]:
            entries[key] = entries[self.chance.choice(list(entries))]

    async def _fail(self) -> None:
        node = self._node()
        node.is_failing = not node.is_failing

    async def _die(self) -> None:
        if sum(node.is_alive for node in self.world.nodes.values()) > 1:
            await self._node().die()

    async def _born(self) -> None:
        name = f"n{len(self.world.nodes)}"
        self.world.nodes[name] = Node(self.world, name)

    async def settle(self) -> None:
        for node in self.world.nodes.values():
            node.engine.is_away = node.engine.is_deaf = node.is_failing = False
            node.behind = 0
        await self.world.go_on(2 * self.world.settings.audit_interval + 5, 0.25)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_message_comes_once_and_in_order_or_its_client_is_told(seed: int) -> None:
    async def main() -> None:
        run = Run(seed)
        await run.do(WEIGHTS)
        await run.settle()
        missing = run.world.missing()
        await run.world.close()
        assert not missing

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_node_ends_the_sharing_with_an_engine_that_does_not_lie(seed: int) -> None:
    async def main() -> None:
        run = Run(seed)
        await run.do(HONEST)
        await run.settle()
        ended = run.world.counts["ended"]
        await run.world.close()
        assert not ended

    asyncio.run(main())


def test_a_seed_is_the_same_run_again() -> None:
    assert seeded(7).random() == random.Random(7).random()
