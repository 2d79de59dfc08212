"""What a schedule plays on: the network, the engine, the nodes, the wires, the clients, and what is waited for."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from appliance.crypto import Verifier
from appliance.ic.key_file import create_identity
from appliance.localnet.net import Localnet
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.websocket.dialect import Generation
from tests.cluster.schedules.canister import Opening, Room
from tests.cluster.schedules.clients import Participant, Place, Session
from tests.cluster.schedules.engines import LATE_S, Engine, OneServer
from tests.cluster.schedules.nodes import NAMES, TOP, NodeProcess
from tests.cluster.schedules.oracle import FORGOTTEN, Tally, problems_of, tally_of, told_twice, untold
from tests.cluster.schedules.sentinels import Sentinels
from tests.cluster.schedules.wire import Wire, to_unix

EngineKind = Literal["redis-server", "valkey-server", "sentinels"]
GENERATIONS: tuple[Generation, ...] = ("v0", "v1", "v2")
CALL_S = 1.0
PATIENCE_S = 300.0
"""For one condition: what takes longer hangs. Nothing depends on how much shorter it is."""
LOOK_S = 0.05
ENGINE_TIMEOUT = "10s"
"""``cluster.timeout``: a node that loses the engine because the machine is busy gives nobody up."""


@dataclass(frozen=True)
class Settings:
    """Of a run: whether nodes share polls, what the engine is, what draws the rest, and the checkout that the last of
    the nodes runs, if that is another one."""

    random: Random
    share_polls: Literal["always", "never"] = "never"
    engine: EngineKind = "redis-server"
    release: Path | None = None


class Unmet(Exception):
    """A condition that never held."""


class Stage:
    """``problems`` are sentences, none where all is well. Faults use what is public here."""

    def __init__(self, settings: Settings, folder: Path, net: Localnet) -> None:
        self.problems: list[str] = []
        self.tally = Tally()
        self.told_twice = 0
        self.random = settings.random
        self.late_s = LATE_S
        self.nodes: dict[str, NodeProcess] = {}
        self.peers: dict[tuple[str, str], Wire] = {}
        """By who asks and who answers."""
        self.participants: list[Participant] = []
        self._settings = settings
        self._folder = folder
        self._net = net
        engine = folder / "engine"
        engine.mkdir()
        self.engine: Engine = (
            Sentinels(engine) if settings.engine == "sentinels" else OneServer(engine, settings.engine)
        )
        identity = folder / "identity.pem"
        principal = create_identity(identity).principal
        self._identity = identity.read_bytes()
        self.rooms = {each: Room(each, principal, self._removed) for each in GENERATIONS}
        self._ids = {each: net.create_canister(room) for each, room in self.rooms.items()}
        self._may_end: defaultdict[str, set[int]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def sessions(self) -> list[Session]:
        """Of all clients."""
        return [session for each in self.participants for session in each.sessions]

    # --- from the start to the end ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Nodes that have joined, and clients that talk at all of them."""
        async with AsyncExitStack() as stack:
            for name in NAMES:
                (self._folder / name).mkdir()
            await stack.enter_async_context(self.engine.serving([self._folder / name for name in NAMES]))
            for name in NAMES:
                await self._wire(stack, name)
                (self._folder / name / "identity.pem").write_bytes(self._identity)
                (self._folder / name / "identity.pem").chmod(0o600)
                release = self._settings.release if name == NAMES[-1] else None
                self.nodes[name] = NodeProcess(name, self._folder / name, self._config(name), release=release or TOP)
                stack.push_async_callback(self._kill, self.nodes[name])
            await asyncio.gather(*(node.start() for node in self.nodes.values()))
            await self.joined(*self.nodes.values())
            stack.push_async_callback(self._send_home)
            for index, name in enumerate(NAMES):
                for generation in GENERATIONS:
                    self._come(f"{generation}{name}", generation, [*NAMES[index:], *NAMES[:index]])
            await self.rounds(1)
            yield

    async def finish(self) -> None:
        """Let everything arrive, judge, let clients go, see that their canisters are told, and stop the nodes."""
        for each in self.participants:
            each.is_quiet = True
        await self.until(lambda: all(map(self._is_settled, self.participants)), "everything has arrived")
        self._judge()
        for each in self.participants:
            each.is_leaving.set()
        await asyncio.gather(*self._tasks)
        ended = {each: [opening.number for opening in room.openings] for each, room in self.rooms.items()}
        await self.until(
            lambda: not any(list(untold(self.rooms[each], ended[each], ())) for each in GENERATIONS),
            "the canisters are told of everybody",
        )
        codes = await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        self.check(not any(codes), f"nodes ended with {codes}")
        self.told_twice = told_twice(self.rooms)
        for node in self.nodes.values():
            self.problems += node.errors()

    # --- for faults -------------------------------------------------------------------------------------------------

    def choose(self) -> NodeProcess:
        """A node that nothing has struck at the moment."""
        return self.random.choice([node for node in self.nodes.values() if not node.is_harmed])

    @asynccontextmanager
    async def harming(self, node: NodeProcess, *codes: int) -> AsyncIterator[None]:
        """Sessions at this node may end with these codes, and its canisters may be told of clients that it has."""
        self.allow(node.name, *codes)
        node.is_harmed = True
        try:
            yield
        finally:
            node.is_harmed = False

    def allow(self, node: str, *codes: int) -> None:
        """Sessions at this node may end with these codes."""
        self._may_end[node].update(codes)

    def openings_at(self, node: NodeProcess) -> list[tuple[Generation, Opening]]:
        """What the canisters have of clients of this node."""
        return [
            (session.generation, self.rooms[session.generation].openings[session.opening])
            for session in self.sessions
            if session.is_open and session.node == node.name and session.opening is not None
        ]

    def are_told(self, openings: Iterable[tuple[Generation, Opening]]) -> bool:
        """Whether the canisters know that these have ended."""
        return all(each.removals or (each.is_replaced and generation != "v2") for generation, each in openings)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition. Raises Unmet."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110 - processes tell nothing
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Unmet(f"it never came to this: {what}. {self._state()}") from None

    async def spoken_for(self, node: NodeProcess) -> None:
        """Wait until the others have told the canisters of a node's clients. An engine that has lost all it holds knows
        of none: then only the next start of the node can do that, as scaling.md says.
        """
        losses, told = self.engine.losses, self._spoken_for(node)
        await self.until(
            lambda: self._spoken_for(node) > told or self.engine.losses > losses, f"others speak for {node.name}"
        )

    async def joined(self, *nodes: NodeProcess) -> None:
        """Wait until these nodes have the engine."""
        await self.until(
            lambda: all(each.contact == "joined" for each in nodes if not each.is_harmed), "nodes have the engine"
        )

    async def away(self, *nodes: NodeProcess) -> None:
        """Wait until these nodes know that they have no engine."""
        await self.until(
            lambda: all(each.contact == "away" for each in nodes if not each.is_harmed), "nodes know of no engine"
        )

    async def goes_on(self, node: NodeProcess) -> None:
        """Wait until every client of this node has heard a message again, or has gone."""
        before = {each: each.rounds for each in self.participants if self._node_of(each) == node.name}
        await self.until(
            lambda: all(each.rounds > count or self._node_of(each) != node.name for each, count in before.items()),
            f"{node.name} goes on",
        )

    async def rounds(self, count: int) -> None:
        """Wait until every client has heard so many messages again, but for those at nodes that are struck."""
        before = {each: each.rounds for each in self.participants}
        await self.until(
            lambda: all(
                each.rounds >= started + count or self._is_struck(self._node_of(each))
                for each, started in before.items()
            ),
            f"clients hear {count} messages again",
        )

    async def newcomer(self, node: NodeProcess | None = None) -> None:
        """Let a client of each generation come to a node, and wait until each has heard a message again."""
        first = (node or self.choose()).name
        nodes = [first, *(name for name in NAMES if name != first)]
        came = [self._come(f"new{len(self.participants)}{each}", each, nodes) for each in GENERATIONS]
        await self.until(lambda: all(each.rounds for each in came), "newcomers are served")

    def reinstall(self, generation: Generation) -> None:
        """Install a canister anew: it forgets its clients, and its queue begins anew."""
        for name in self.nodes:
            self._may_end[name].update(FORGOTTEN)
        self.rooms[generation].forgotten()
        self._net.reinstall_canister(self._ids[generation], self.rooms[generation])

    def check(self, is_so: object, problem: str) -> None:
        """Note a problem, unless it is so."""
        if not is_so:
            self.problems.append(problem)

    # --- steps ------------------------------------------------------------------------------------------------------

    async def _wire(self, stack: AsyncExitStack, name: str) -> None:
        for other in NAMES:
            if other != name:
                wire = Wire(self._folder / name / f"{other}.sock", to_unix(self._folder / other / f"{other}.sock"))
                self.peers[name, other] = wire
                await stack.enter_async_context(wire.serving())

    def _config(self, name: str) -> dict[str, Any]:
        return {
            "gateway": {"listen": "127.0.0.1:0", "identity": "identity.pem", "journal": f"{name}.journal"},
            "log": {"format": "json"},
            "network": {"url": self._net.url, "root_key": self._net.root_key.hex()},
            "control": {"listen": None, "history": None},
            "plugins": [],
            "polling": {"min_interval": "200ms", "max_interval": "1s"},
            "cluster": {
                "url": self.engine.url,
                "node": name,
                "peer": f"unix:/proc/self/cwd/{name}.sock",
                "timeout": ENGINE_TIMEOUT,
                "give_up_after": "5s",
                "share_polls": self._settings.share_polls,
                "audit_interval": "5s",
            },
            "canisters": [{"id": str(self._ids[each]), "generation": each} for each in GENERATIONS],
        }

    def _spoken_for(self, node: NodeProcess) -> int:
        told = "the canisters of a node that was given up are told"
        return sum(
            line["event"] == told and line["node"] == node.name for each in self.nodes.values() for line in each.log
        )

    async def _kill(self, node: NodeProcess) -> None:
        if node.is_running:
            await node.kill()

    def _come(self, name: str, generation: Generation, nodes: Sequence[str]) -> Participant:
        came = Participant(name, generation, list(nodes), keeps_key=self.random.random() < 0.7)
        self.participants.append(came)
        place = Place(
            self._ids[generation], Verifier(self._net.root_key), self._net.url, lambda name: self.nodes[name].url
        )
        self._tasks.append(asyncio.create_task(came.take_part(place), name=name))
        return came

    async def _send_home(self) -> None:
        for each in self._tasks:
            each.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.problems += [f"a client failed: {end!r}" for end in ends if isinstance(end, Exception)]

    def _node_of(self, participant: Participant) -> str | None:
        session = participant.session
        return session.node if session is not None else None

    def _is_struck(self, name: str | None) -> bool:
        return name is not None and self.nodes[name].is_harmed

    def _is_settled(self, participant: Participant) -> bool:
        session = participant.session
        if session is None or session.opening is None:
            return False
        room = self.rooms[participant.generation]
        sent = room.openings[session.opening].sent
        return session.received == sent and room.received[session.name] == session.sent

    def _removed(self, opening: Opening) -> None:
        """By a canister, at this moment."""
        for session in self.sessions:
            room = self.rooms[session.generation]
            mine = session.opening is not None and room.openings[session.opening] is opening
            if mine and session.is_open and not opening.is_replaced and not self.nodes[session.node].is_harmed:
                self.problems.append(
                    f"{session.name} lives at {session.node}, and its canister removed it: {opening.removals}"
                )

    def _judge(self) -> None:
        for session in self.sessions:
            room = self.rooms[session.generation]
            self.problems += problems_of(session, room, self._may_end[session.node])
            self.tally += tally_of(session, room)
        for generation, room in self.rooms.items():
            living = [
                session.opening
                for session in self.sessions
                if session.is_open and session.generation == generation and session.opening is not None
            ]
            self.problems += untold(room, (), living)
        for each in self.participants:
            self.check(each.session, f"{each.name} gave up: {each.refusals[-1:]}")

    def _state(self) -> str:
        return "; ".join([*self._nodes_now(), *self._clients_now()])

    def _nodes_now(self) -> Iterator[str]:
        for node in self.nodes.values():
            yield f"{node.name} {'runs' if node.is_running else 'does not run'}, the engine is {node.contact}"

    def _clients_now(self) -> Iterator[str]:
        for each in self.participants:
            session = each.session
            at = f"at {session.node}, {self._count(session)}" if session else "nowhere"
            refused = Counter(repr(error) for error in each.refusals)
            yield f"{each.name} {at}, {each.rounds} rounds, refused {dict(refused)}"

    def _count(self, session: Session) -> str:
        room = self.rooms[session.generation]
        there = f"sent {len(session.sent)} of which {len(room.received[session.name])} arrived"
        written = len(room.openings[session.opening].sent) if session.opening is not None else 0
        return f"{there}, received {len(session.received)} of {written}"


@asynccontextmanager
async def stage_of(settings: Settings, folder: Path) -> AsyncIterator[Stage]:
    """The network, and everything on it."""
    async with Localnet(conditions=Conditions(block_time_s=CALL_S)) as net:
        yield Stage(settings, folder, net)
