"""A hundred nodes and two million sessions on a virtual clock, in one process: what a session takes at its node and at
the engine, and what a heartbeat, a node that joins, and a node that is given up cost. ``make cluster-scale``.

The nodes are real, the engine is that of the workers, and commands are answered at once. Costs are calls of functions:
those do not depend on the machine. What a heartbeat costs must not depend on the sessions of the cluster.
"""

import asyncio
import gc
import logging
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from appliance.cluster.registry.engine import GIVER_MS
from appliance.cluster.registry.evidence import Outcome
from appliance.cluster.seal import Seal
from appliance.gateway.nodes import Claim, Known, Place
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import CANISTER, GATEWAY, NOW_NS, Beating, Local
from tests.cluster.registry.world import Answered

NODES, SESSIONS = 100, 20_000
"""Sessions are those of each node."""
SEALED_AT_ONCE = 500
GIVE_UP_S = 120
GENERATIONS = ("v0", "v1", "v2")


class Gateway(Local):
    """The sessions of a node are numbers until somebody asks for them: only the cluster's own memory is measured."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.opened = 0

    def known(self) -> Iterable[Known]:
        """All sessions."""
        return (client(self.number, each) for each in range(self.opened))

    def held(self) -> Iterable[Place]:
        """The places of those that have one."""
        return (each.place for each in self.known() if each.place.group)


class Scaled(Beating):
    """A node, without a task and a timer for each command."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        super().__init__(MemoryEngine(cluster.board), f"n{number}", settings={"peer": f"10.0.0.1:{1000 + number}"})
        self.cluster = cluster
        self.engine.made = _Nothing()
        self.gateway = Gateway(number)
        self.node.commands = Answered(self.node.settings.commands)
        self.node.speaking.ask = self._ask
        self.node.serve(self.gateway)

    async def opens(self) -> None:
        """One more session."""
        known = client(self.gateway.number, self.gateway.opened)
        request_id = b"" if known.generation == "v0" else known.client_key.rjust(32, b"\0")
        made = Claim(known.place, known.client, known.client_key, request_id, NOW_NS + 240 * 10**9, known)
        await self.node.claim(made, lambda _: None)
        self.node.know(known)
        self.gateway.opened += 1

    async def beats(self) -> None:
        """One heartbeat, and what follows from it."""
        self.now = self.cluster.now
        await self.node._attempt()
        await asyncio.sleep(0)

    async def tells(self) -> int:
        """Make the close calls for others that are due. Returns how many there were."""
        due, self.gateway.to_tell = self.gateway.to_tell, []
        for known in due:
            if await self.node.may_tell(known) == "free":
                self.node.have_told(known, is_told=True)
        return len(due)

    async def _ask(self, address: str, incarnation: str, seal: Seal) -> Outcome:
        return "silent" if address == self.cluster.dead else "answered"


class _Nothing(list[str]):
    def append(self, _: str) -> None:
        """Commands are too many to keep their names."""


class Cluster:
    """Nodes with one time."""

    def __init__(self, nodes: int) -> None:
        self.board = Board(now_ms=10**9, keeps=False)
        self.board.flush()
        self.now = 1000.0
        self.dead = ""
        self.nodes = [Scaled(self, number) for number in range(nodes)]

    async def second(self, but: Scaled | None = None) -> None:
        """A second passes, with a heartbeat of each node."""
        self.now += 1.0
        self.board.now_ms += 1000
        self.board.doubted_until = 0, 10**15  # only a claim that is granted writes its client
        for each in self.nodes:
            if each is not but:
                await each.beats()
        self.board.sweep()

    async def open(self, sessions: int) -> None:
        """So many sessions at each node."""
        for _ in range(sessions):
            for each in self.nodes:
                await each.opens()

    async def give_up(self, dead: Scaled) -> tuple[int, int]:
        """A node dies. Returns the seconds from then until all its clients are told of, and how many that were."""
        began, told = self.now, 0
        self.dead = f"10.0.0.1:{1000 + dead.gateway.number}"
        while told < dead.gateway.opened and self.now - began < GIVE_UP_S + GIVER_MS / 1000 + dead.gateway.opened:
            await self.second(but=dead)
            for each in self.nodes:
                told += await each.tells()
        return round(self.now - began), told

    async def close(self) -> None:
        """End what the nodes began."""
        for each in self.nodes:
            await each.node._tasks.cancel()


def client(node: int, number: int) -> Known:
    """A client; a key of v0 and a principal of v1 have the lengths that they have."""
    generation = GENERATIONS[number % 3]
    key = b"%16d%16d" % (node, number)
    close_arg = b"close " + key + bytes(60)
    return Known(GATEWAY, CANISTER, generation, key, key.hex()[:27], b"p" + key[-28:], close_arg)


class Calls:
    """How many calls of functions were made, in Python and in C."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """For ``sys.setprofile``."""
        self.made += event in ("call", "c_call")


@contextmanager
def counted() -> Iterator[Calls]:
    """Count the calls of what is done."""
    calls = Calls()
    sys.setprofile(calls)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def heartbeat(cluster: Cluster) -> int:
    """The calls of one heartbeat of one node, where nothing happens."""
    with counted() as calls:
        await cluster.nodes[0].beats()
    return calls.made


async def joining(cluster: Cluster) -> tuple[int, int]:
    """The calls of the first heartbeat of one more node, and of the next one of another."""
    cluster.nodes.append(joined := Scaled(cluster, len(cluster.nodes)))
    with counted() as calls:
        await joined.beats()
    return calls.made, await heartbeat(cluster)


async def memory(sessions: int) -> tuple[float, float]:
    """Bytes of a session at its node and at the engine."""
    cluster = Cluster(1)
    await cluster.second()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await cluster.open(sessions)
    await cluster.second()
    gc.collect()
    both, _ = tracemalloc.get_traced_memory()
    cluster.board.flush()
    gc.collect()
    node, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await cluster.close()
    return (node - before) / sessions, (both - node) / sessions


async def measure(nodes: int, sessions: int) -> None:
    """Print the figures of one cluster."""
    cluster = Cluster(nodes)
    for _ in range(20):
        await cluster.second()
    empty = await heartbeat(cluster)
    await cluster.open(sessions)
    await cluster.second()
    print(f"{nodes} nodes with {sessions} sessions each, {len(cluster.board.registry.known)} at the engine")
    full = await heartbeat(cluster)
    print(f"  calls of a heartbeat: {empty} without sessions, {full} with them")
    assert full <= empty * 1.1, "a heartbeat costs more where there are more sessions"
    first, later = await joining(cluster)
    print(f"  calls where a node joins: {first} for its first heartbeat, {later} for the next of another")
    with counted() as calls:
        seconds, told = await cluster.give_up(cluster.nodes[1])
    others = (calls.made - seconds * nodes * later) / sessions
    print(f"  a node is given up: {told} clients told after {seconds} s, {others:.0f} calls for each")
    assert told == sessions, "each client of a node that is given up is told of once"
    await cluster.close()


async def main(nodes: int, sessions: int) -> None:
    """A small cluster, one with more sessions, one with more nodes, and the one that is asked for."""
    node, engine = await memory(min(sessions, 20_000))
    print(f"a session takes {node:.0f} bytes at its node and {engine:.0f} at the engine")
    for each in ((10, 100), (10, 1000), (nodes, 100), (nodes, sessions)):
        await measure(*each)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(*(map(int, sys.argv[1:3])) if len(sys.argv) > 2 else (NODES, SESSIONS)))
