"""Three nodes on a virtual clock, clients that move between them, and an engine that goes away and loses everything: no
living session is ended for the end of another, and no opening message is used twice.

An engine that is away is noticed by every node here before it is back. One that is back sooner may be believed
too early: docs/scaling.md says so. It says, too, that a copy may be taken for the first use of an opening where the
node that relayed it had lost the engine, and has been silent there for less than ``SILENT_MS``.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.cluster import contact
from appliance.cluster.engine import SILENT_MS
from appliance.errors import ClientLeaving, GatewayError, OpeningClaimed
from appliance.gateway.nodes import Place
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import CANISTER, Beating, beating, claim

NODES = st.sampled_from("abc")
CLIENTS = st.just(b"x")
STEPS = st.one_of(
    st.tuples(st.just("open"), NODES, CLIENTS),
    st.tuples(st.just("leave"), NODES, CLIENTS),
    st.tuples(st.just("copy"), NODES, st.integers(0, 20)),
    st.tuples(st.just("beat"), NODES),
    st.tuples(st.just("tick")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("away")),
    st.tuples(st.just("back")),
)


@dataclass
class World:
    """What is true, whatever the nodes know: who has the newest session of each client, and who used what."""

    board: Board
    engines: dict[str, MemoryEngine]
    nodes: dict[str, Beating]
    number: int = 0
    newest: dict[bytes, str] = field(default_factory=dict)
    open: set[tuple[str, bytes]] = field(default_factory=set)
    used: dict[bytes, str] = field(default_factory=dict)
    relayed_alone: dict[bytes, int] = field(default_factory=dict)
    """Openings that were relayed without the engine, and when by its clock (ms)."""

    async def do(self, step: tuple[Any, ...]) -> None:
        await getattr(self, f"_{step[0]}")(*step[1:])

    async def _open(self, name: str, client: bytes) -> None:
        """A client opens a session at a node, which ends the one that the canister knows of it elsewhere."""
        self.number += 1
        request_id = self.number.to_bytes(32, "big")
        try:
            await self.nodes[name].node.claim(claim(request_id, group=client), _ignored)
        except ClientLeaving:
            return
        self.used[request_id] = name
        if self.nodes[name].node.contact.state != "joined":
            self.relayed_alone[request_id] = self.board.now_ms
        self._pass(0.01)
        self.newest[client] = name
        self.open.add((name, client))
        self._publish(name)

    async def _copy(self, name: str, number: int) -> None:
        """Somebody sends a copy of an opening message to a node."""
        if not self.number:
            return
        request_id = (1 + number % self.number).to_bytes(32, "big")
        try:
            is_first = await self.nodes[name].node.claim(claim(request_id), _ignored)
        except OpeningClaimed:
            return
        # Without the engine it may have been used by now, too, but nobody may say that it was not.
        if is_first and not self._is_unknown(request_id):
            assert self.used.setdefault(request_id, name) == name, "a copy counts as the first use of an opening"

    def _is_unknown(self, request_id: bytes) -> bool:
        """Whether nobody can know yet that an opening was relayed: its node has lost the engine a moment ago."""
        relayed_ms = self.relayed_alone.get(request_id)
        beat_ms, *_ = self.board.infos.get(self.used.get(request_id, ""), (0,))
        return relayed_ms is not None and beat_ms <= relayed_ms and self.board.now_ms - beat_ms <= SILENT_MS

    async def _leave(self, name: str, client: bytes) -> None:
        """A client leaves a node, which asks whether it may make the close call."""
        if (name, client) not in self.open:
            return
        self.open.remove((name, client))
        self._publish(name)
        place = Place(CANISTER, client)
        if await self.nodes[name].node.release(place) != "free":
            return
        assert (self.newest[client], client) not in self.open, "a living session was ended"
        self.nodes[name].node.released(place)
        await asyncio.sleep(0)

    async def _beat(self, name: str) -> None:
        await self.nodes[name].beat()

    async def _tick(self) -> None:
        """As long as a node waits at most until it tries again."""
        self._pass(contact.MAX_WAIT_S)
        for it in self.nodes.values():
            await it.beat()

    async def _restart(self) -> None:
        """The engine loses everything, within the time between two heartbeats."""
        await self._flush()
        for it in self.nodes.values():
            await it.beat()

    async def _flush(self) -> None:
        """The engine loses everything, and no heartbeat has noticed it."""
        self.board.flush()

    async def _away(self) -> None:
        for engine in self.engines.values():
            engine.is_away = True
        for it in self.nodes.values():
            await it.beat()

    async def _back(self) -> None:
        for engine in self.engines.values():
            engine.is_away = False

    def _publish(self, name: str) -> None:
        self.nodes[name].local.places = [Place(CANISTER, client) for node, client in self.open if node == name]

    def _pass(self, seconds: float) -> None:
        self.board.now_ms += round(seconds * 1000)
        for it in self.nodes.values():
            it.now += seconds


def _ignored(_: GatewayError | None) -> None:
    """No answer is late here: either there is one at once, or none."""


BACK_SOONER = [("away",), ("open", "a", b"x"), ("back",), ("beat", "b"), ("copy", "b", 0)]
SILENT = [*BACK_SOONER[:2], ("tick",), *BACK_SOONER[2:]]


@given(st.lists(STEPS, min_size=10, max_size=60))
@example(BACK_SOONER)
@example(SILENT)
def test_no_living_session_is_ended_and_no_opening_is_used_twice(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        board = Board()
        engines = {name: MemoryEngine(board) for name in "abc"}
        async with AsyncExitStack() as stack:
            nodes = {name: await stack.enter_async_context(beating(engines[name], name)) for name in "abc"}
            world = World(board, engines, nodes)
            for step in steps:
                await world.do(step)

    asyncio.run(main())
