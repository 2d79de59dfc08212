"""The faults. Each strikes, waits until something has come of it, heals, and waits until that has come to its end.

What a fault waits for are conditions, with clients that talk meanwhile; it waits for no time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tests.cluster.schedules.clients import UNDER_WAY
from tests.cluster.schedules.oracle import CUT, GIVEN_UP, STANDS_STILL
from tests.cluster.schedules.sentinels import Sentinels
from tests.cluster.schedules.stage import GENERATIONS, EngineKind, Stage

Run = Callable[[Stage], Awaitable[None]]
Struck = Literal["node", "canisters", "engine", "engine's wires", "peers' wires"]
ROUNDS = 3
"""Messages that each client hears again while a fault goes on that is none to them."""
MINUTE = 60
"""Blocks of the network: one has two messages of a client at most (``clients.UNDER_WAY``)."""
RETURNED = "this node was given up by the others, and begins anew"
"""In the log of a node."""


@dataclass(frozen=True)
class Fault:
    """``struck`` is what it strikes: two that strike the same may not go on at the same time."""

    struck: frozenset[Struck]
    run: Run
    engine: EngineKind = "redis-server"


FAULTS: dict[str, Fault] = {}


def _fault(*struck: Struck, engine: EngineKind = "redis-server") -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        FAULTS[run.__name__] = Fault(frozenset(struck), run, engine)
        return run

    return add


# --- nodes ------------------------------------------------------------------------------------------------------------


@_fault("node")
async def killed(stage: Stage) -> None:
    """A node is killed, the others tell its canisters, it starts again, and others are its first clients."""
    node = stage.choose()
    async with stage.harming(node, CUT):
        left = stage.openings_at(node)
        await node.kill()
        await stage.spoken_for(node)
        await stage.rounds(ROUNDS)
        await node.start()
    await stage.until(lambda: stage.are_told(left), f"the clients of {node.name} are told of")
    await stage.joined(node)
    await stage.newcomer(node)  # which has no position in any queue


@_fault("node")
async def killed_and_back(stage: Stage) -> None:
    """A node is killed and starts at once: its journal tells."""
    node = stage.choose()
    async with stage.harming(node, CUT):
        left = stage.openings_at(node)
        await node.kill()
        await node.start()
    await stage.until(lambda: stage.are_told(left), f"the clients of {node.name} are told of")
    await stage.joined(node)


@_fault("node")
async def stopped_in_order(stage: Stage) -> None:
    """A node ends in order and starts again, as for an update."""
    node = stage.choose()
    async with stage.harming(node, 1012):
        code = await node.stop()
        stage.check(code == 0, f"node {node.name} ended with {code}")
        await stage.rounds(1)
        await node.start()
    await stage.joined(node)


@_fault("node")
async def stands_still(stage: Stage) -> None:
    """A node stands still until the others have given it up and told its canisters, and goes on."""
    node = stage.choose()
    async with stage.harming(node, *GIVEN_UP, STANDS_STILL, CUT):
        returns = node.count(RETURNED)
        losses = stage.engine.losses
        node.pause()
        await stage.spoken_for(node)
        await stage.rounds(ROUNDS)
        node.go_on()
        await stage.until(
            lambda: node.count(RETURNED) > returns or stage.engine.losses > losses,
            f"{node.name} notices that it was given up",
        )
    await stage.joined(node)


@_fault("node")
async def stands_still_shortly(stage: Stage) -> None:
    """A node stands still while the clients of the others hear one message again."""
    node = stage.choose()
    async with stage.harming(node, *GIVEN_UP, STANDS_STILL, CUT):
        node.pause()
        await stage.rounds(1)
        node.go_on()
        await stage.goes_on(node)
    await stage.joined(node)


@_fault("node", "canisters")
async def queue_restarted(stage: Stage) -> None:
    """A canister is installed anew while the node that asks it for all stands still, so that another takes over."""
    holder = await stage.engine.holder()
    node = stage.nodes[holder] if holder is not None else stage.choose()
    async with stage.harming(node, *GIVEN_UP, STANDS_STILL, CUT):
        node.pause()
        stage.reinstall(stage.random.choice(GENERATIONS))
        await stage.rounds(ROUNDS)
        node.go_on()
        await stage.goes_on(node)
    await stage.joined(node)


# --- the engine -------------------------------------------------------------------------------------------------------


@_fault("engine")
async def engine_killed(stage: Stage) -> None:
    """The engine is killed, and starts with nothing."""
    stage.engine.server.kill()
    await stage.away(*stage.nodes.values())
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    await stage.engine.start_again()
    await stage.joined(*stage.nodes.values())


@_fault("engine")
async def engine_away_for_a_minute(stage: Stage) -> None:
    """The engine is killed, and starts when a minute of calls has passed."""
    stage.engine.server.kill()
    await stage.away(*stage.nodes.values())
    for _ in range(MINUTE):
        await stage.rounds(UNDER_WAY)
    await stage.newcomer()
    await stage.engine.start_again()
    await stage.joined(*stage.nodes.values())


@_fault("engine")
async def engine_restarted(stage: Stage) -> None:
    """The engine is killed, and starts at once with nothing."""
    stage.engine.server.kill()
    await stage.engine.start_again()
    await stage.rounds(ROUNDS)
    await stage.joined(*stage.nodes.values())


@_fault("engine")
async def engine_stands_still(stage: Stage) -> None:
    """The engine answers nobody, with its connections open, and goes on."""
    stage.engine.server.stop()
    await stage.away(*stage.nodes.values())
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    stage.engine.server.go_on()
    await stage.joined(*stage.nodes.values())


@_fault("engine")
async def engine_full(stage: Stage) -> None:
    """The engine has no memory left, and forgets nothing for it."""
    await stage.engine.command("CONFIG", "SET", "maxmemory", "1")
    await stage.away(*stage.nodes.values())
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    await stage.engine.command("CONFIG", "SET", "maxmemory", "0")
    await stage.joined(*stage.nodes.values())


@_fault("engine")
async def engine_flushed(stage: Stage) -> None:
    """The engine loses all that it holds."""
    await stage.engine.flush()
    await stage.rounds(ROUNDS)
    await stage.joined(*stage.nodes.values())


@_fault("engine", engine="sentinels")
async def engine_failed_over(stage: Stage) -> None:
    """The master is killed, or stands still, until the Sentinels have made its replica the master."""
    assert isinstance(stage.engine, Sentinels)
    await stage.engine.fail_over(by_pause=stage.random.random() < 0.5)
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    await stage.joined(*stage.nodes.values())


@_fault("engine", engine="valkey-server")
async def valkey_killed(stage: Stage) -> None:
    """The same as `engine_killed`, with a Valkey."""
    await engine_killed(stage)


# --- ways to the engine -----------------------------------------------------------------------------------------------


@_fault("engine's wires")
async def engine_cut_off_from_one(stage: Stage) -> None:
    """One node alone loses the engine; the others reach it."""
    node = stage.choose()
    wire = stage.engine.wires[node.name]
    await wire.cut()
    await stage.away(node)
    await stage.rounds(ROUNDS)
    await stage.newcomer(node)
    wire.mend()
    await stage.joined(node)


@_fault("engine's wires")
async def engine_half_open_to_one(stage: Stage) -> None:
    """Nothing passes between the engine and one node, whose connections stay; then what was held arrives."""
    node = stage.choose()
    wire = stage.engine.wires[node.name]
    wire.hold()
    await stage.away(node)
    await stage.rounds(ROUNDS)
    await stage.newcomer(node)
    wire.mend()
    await stage.joined(node)


@_fault("engine's wires")
async def engine_half_open(stage: Stage) -> None:
    """Nothing passes between the engine and the nodes, whose connections stay and are cut in the end."""
    for wire in stage.engine.wires.values():
        wire.hold()
    await stage.away(*stage.nodes.values())
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    for wire in stage.engine.wires.values():
        await wire.cut()
        wire.mend()
    await stage.joined(*stage.nodes.values())


@_fault("engine's wires")
async def engine_slow(stage: Stage) -> None:
    """What the engine says comes later than any claim waits."""
    for wire in stage.engine.wires.values():
        wire.delay_s = stage.late_s
    await stage.newcomer()
    await stage.rounds(ROUNDS)
    for wire in stage.engine.wires.values():
        wire.mend()
    await stage.joined(*stage.nodes.values())


# --- ways between nodes -----------------------------------------------------------------------------------------------


@_fault("peers' wires")
async def peers_cut(stage: Stage) -> None:
    """Two nodes do not reach each other, and both reach the engine."""
    one, other = stage.random.sample(sorted(stage.nodes), 2)
    # Where one of them loses the engine as well, the other gives it up: see "What is missing" in scaling.md.
    stage.allow(one, *GIVEN_UP)
    stage.allow(other, *GIVEN_UP)
    wires = stage.peers[one, other], stage.peers[other, one]
    for wire in wires:
        await wire.cut()
    await stage.rounds(ROUNDS)
    await stage.newcomer()
    for wire in wires:
        wire.mend()


@_fault("engine's wires", "peers' wires")
async def isolated(stage: Stage) -> None:
    """One node reaches neither the engine nor the others, until they have told its canisters; its clients reach it."""
    node = stage.choose()
    wires = [stage.engine.wires[node.name], *(wire for ends, wire in stage.peers.items() if node.name in ends)]
    async with stage.harming(node, *GIVEN_UP):
        returns, losses = node.count(RETURNED), stage.engine.losses
        is_held = stage.random.random() < 0.5
        for wire in wires:
            if is_held:
                wire.hold()
            else:
                await wire.cut()
        await stage.spoken_for(node)
        await stage.rounds(ROUNDS)
        for wire in wires:
            wire.mend()
        await stage.until(
            lambda: node.count(RETURNED) > returns or stage.engine.losses > losses,
            f"{node.name} notices that it was given up",
        )
    await stage.joined(node)
