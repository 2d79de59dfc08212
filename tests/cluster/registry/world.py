"""Some nodes on a virtual clock, their clients, canisters of three generations, and everything that may go wrong
between them; driven by a seed. What must hold is asserted whenever a canister is told that a client left, and in the
end, when all faults are over.

Some things are left out, because nobody can know of them, and docs/scaling.md says so: a client that comes to a node
which has lost the engine within the last ``SILENT_MS`` or has not had it yet, one that comes to a node without the
engine while its close call is under way elsewhere, one that comes to two nodes at the same moment, a node that stands
still in the middle of a close call, and a key of v0 that left no trace (``Session.has_no_trace``).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.cluster.commands import Commands
from appliance.cluster.engine import SILENT_MS
from appliance.cluster.registry.clients import field_of
from appliance.cluster.registry.evidence import FRESH_S, Outcome
from appliance.cluster.seal import Seal
from appliance.errors import ClusterError, EngineAway, GatewayError, NodeNameTaken
from appliance.gateway.limits.cluster_rates import ClusterRates
from appliance.gateway.nodes import Claim, Known, Told
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import CANISTER, GATEWAY, NOW_NS, Beating

TICK_S = 2.0
GENERATIONS = ("v0", "v1", "v2")
HEALING_TICKS = 150
AT_ONCE = 0.3
"""Of the ticks, those in which the nodes do everything at the same time."""


class Violation(AssertionError):
    """What must hold does not."""


class Answered(Commands):
    """Commands to an engine that answers within the time, or not at all: without a task and a timer for each."""

    async def run(self, command: Any, within_s: float, *, late: Any = None, is_vital: bool = False) -> Any:
        try:
            return await command()
        except _Delayed as delayed:
            delayed.engine.delayed.append((delayed.answer, late))
            raise


class _Delayed(EngineAway):
    """No answer within 20 ms."""

    def __init__(self, engine: "FaultyEngine", answer: Callable[[], Any]) -> None:
        super().__init__("no answer within 20 ms")
        self.engine = engine
        self.answer = answer


class FaultyEngine(MemoryEngine):
    """May keep claims back, which it has lost for whoever waits, and make them later. While others do something at the
    same time, each command takes a while to get there, and its answer to come back.
    """

    def __init__(self, world: "World") -> None:
        super().__init__(world.board)
        self.world = world
        self.is_delaying = False
        self.delayed: list[tuple[Callable[[], Any], Callable[[Any], None] | None]] = []

    @property
    def is_out(self) -> bool:
        """Whether no answer comes."""
        return self.is_away or self.is_mute

    async def do(self, name: str, answer: Callable[[], Any]) -> Any:
        if self.world.is_at_once:
            await self._travel()
        if self.is_away or (self.is_mute and name == "connect"):
            raise EngineAway("it is cut off")
        if name == "claim" and self.is_delaying:
            raise _Delayed(self, answer)
        found = answer()
        if self.world.is_at_once:
            await self._travel()
        if self.is_mute:
            raise EngineAway("its answer is lost")
        return found

    async def _travel(self) -> None:
        for _ in range(self.world.chance.randrange(4)):
            await asyncio.sleep(0)

    async def ring(self, message: bytes) -> None:
        """Heard by its node alone: what others hear makes them poll, which is not simulated."""
        await self.do("ring", lambda: self.heard(message))

    async def listen(self, incarnation: str, heard: Callable[[bytes], None], told: Callable[[bytes], None]) -> None:
        """Until it is cancelled."""
        self.heard = heard
        await super().listen(incarnation, heard, told)

    def go_on_with(self, chance: random.Random) -> None:
        """Make the claims that were kept back. Some of the answers still come."""
        delayed, self.delayed = self.delayed, []
        for make, late in delayed:
            answer = make()
            if late is not None and not self.is_out and chance.random() < 0.5:
                late(answer)


def group_of(known: Known) -> tuple[str, bytes]:
    """What a canister may know only one session of."""
    return known.generation, known.place.group or known.client_key


@dataclass(eq=False)
class Session:
    """``is_told``: a canister was told, by another node than the one that has it, that its client left."""

    known: Known
    process: "Process"
    opened: float
    closes: int = 0
    is_told: bool = False
    has_no_trace: bool = False
    """Opened without the engine, with a key of v0, at a process that was given up and did not know it: if that ends
    before it does, what others told of an earlier session of the key looks like the end of this one."""
    is_excused: bool = False
    """A process ended during its close call, or before the heartbeat with which it tells the engine that it made one:
    nobody knows whether it was made."""

    @property
    def group(self) -> tuple[str, bytes]:
        return group_of(self.known)


@dataclass(eq=False)
class Due:
    """A close call that is due at a node; ``ticks`` are left of it once it is under way."""

    known: Known
    is_foreign: bool
    is_late: bool
    name: str
    """Of the node that makes it."""
    ticks: int | None = None
    is_alone: bool = False
    """Made without the engine, as by a gateway that is alone."""


class Process(Beating):
    """A node as long as it runs, with a gateway that keeps a journal."""

    def __init__(self, world: "World", name: str, skew_s: int) -> None:
        self.world = world
        super().__init__(
            FaultyEngine(world),
            name,
            settle_s=15.0,
            settings={"peer": f"10.0.0.1:{1000 + ord(name)}"},
        )
        self.node.commands = Answered(self.node.settings.commands)
        self.node.incarnation = f"{world.number():016x}"
        self.node.doorbell.reconnect()
        self.node._clock = lambda: NOW_NS + skew_s * 10**9
        self.now = world.now
        self.node.contact = type(self.node.contact)("away", self.now, problem="it was not asked yet")
        self.node.serve(self)  # type: ignore[arg-type]
        self.node.speaking.ask = self._ask
        self.own_sessions: dict[bytes, Session] = {}
        self.due: list[Due] = []
        self.paused_ticks = 0
        self.was_given_up = False
        self.has_beaten = False
        self.beats = 0
        """Ticks in a row in which it had the engine."""
        self.has_ended = False

    # --- the gateway, as the node uses it ---------------------------------------------------------------------------

    sessions = 0

    @property
    def rates(self) -> ClusterRates:
        return self.local.rates  # of the gateway that only remembers: nothing is limited here

    def nudge(self, canister_id: Any) -> None:
        pass

    def held(self) -> Any:
        return [each.known.place for each in self.own_sessions.values() if each.known.place.group]

    def known(self) -> Any:
        return [each.known for each in self.own_sessions.values()]

    def end(self, was_told: Callable[[Known], Told], error: Callable[[], GatewayError], node: str) -> int:
        ended = 0
        for key, session in list(self.own_sessions.items()):
            told = was_told(session.known)
            if told == "no":
                continue
            ended += 1
            self.world.note(f"{self.node.name} returns and ends {session.known.client} {key!r}: {told}")
            del self.own_sessions[key]
            if told == "maybe":
                self.world.leave_after(self, session)
            else:
                self.world.journals[self.node.name].pop(key, None)
                self.tell(session.known._replace(node=node))
        return ended

    def tell(self, known: Known) -> bool:
        if not any(each.known == known for each in self.due) and known.client_key not in {
            each.known.client_key for each in self.own_sessions.values()
        }:
            self.due.append(Due(known, is_foreign=True, is_late=True, name=self.node.name))
        return True

    @property
    def untold(self) -> int:
        return sum(each.is_late for each in self.due)

    def given_up(self, node: str, **facts: object) -> None:
        self.world.given_up(self, node, str(facts["incarnation"]))

    async def _ask(self, address: str, incarnation: str, seal: Seal) -> Outcome:
        return self.world.asked(self, address, incarnation)


@dataclass
class World:
    chance: random.Random
    board: Board = field(default_factory=lambda: Board(now_ms=10**9))
    now: float = 1000.0
    processes: dict[str, Process] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    journals: dict[str, dict[bytes, Known]] = field(default_factory=dict)
    open: dict[tuple[str, bytes], Session] = field(default_factory=dict)
    """What the canisters know."""
    every: list[Session] = field(default_factory=list)
    cut: set[frozenset[str]] = field(default_factory=set)
    """Pairs of nodes that do not reach each other."""
    silent_at: dict[tuple[str, str], float] = field(default_factory=dict)
    answers: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """When one had answers of another in a row."""
    counts: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)
    is_at_once: bool = False
    """Whether nodes do something at the same time: else each ends what it began before the next begins."""
    _number: int = 0

    def note(self, what: str) -> None:
        """For whoever has to understand a violation."""
        self.story.append(f"{self.now:.0f} {what}")

    def number(self) -> int:
        self._number += 1
        return self._number

    def begin(self, names: list[str]) -> None:
        self.names = names
        for name in names:
            self.journals[name] = {}
            self.start(name)

    # --- processes --------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        self.note(f"{name} starts")
        process = Process(self, name, self.chance.choice([-300, 0, 300]))
        self.processes[name] = process
        process.due = [Due(each, is_foreign=False, is_late=True, name=name) for each in self.journals[name].values()]

    async def kill(self, name: str) -> None:
        self.note(f"{name} is killed")
        process = self.processes.pop(name)
        process.has_ended = True
        ledger = process.node.own.ledger
        forgotten = {each for each, value in ledger.batch(ledger.waiting).items() if value is None}
        for session in self.every:
            if session.process is process and field_of(CANISTER, session.known.client_key) in forgotten:
                session.is_excused |= session.closes == 1
        for owner, key in process.node.own._untold:
            for session in self.every:
                if session.process.node.name == owner.node and field_of(CANISTER, session.known.client_key) == key:
                    session.is_excused |= session.closes == 1
        for each in process.due:
            if each.ticks is not None:
                for session in self.of(each.known):
                    session.is_excused = True
                if self.chance.random() < 0.5:
                    self.close(each)
        await process.node._tasks.cancel()

    def asked(self, judge: Process, address: str, incarnation: str) -> Outcome:
        (name,) = [each for each in self.names if address.endswith(str(1000 + ord(each)))]
        process = self.processes.get(name)
        if process is None or process.paused_ticks or frozenset((judge.node.name, name)) in self.cut:
            self.silent_at[judge.node.name, name] = self.now
            self.answers.pop((judge.node.name, name), None)
            return "silent"
        if process.node.incarnation != incarnation:
            self.answers.pop((judge.node.name, name), None)
            return "another"
        self.answers.setdefault((judge.node.name, name), []).append(self.now)
        return "answered"

    def given_up(self, judge: Process, name: str, incarnation: str) -> None:
        self.counts["given up"] += 1
        self.note(f"{judge.node.name} gives up {name} {incarnation}")
        process = self.processes.get(name)
        if process is not None and process.node.incarnation == incarnation:
            process.was_given_up = True
            if self.now - self.silent_at.get((judge.node.name, name), 0.0) > FRESH_S:
                raise Violation(f"{name} was given up, and answers")
            for each in self.processes.values():
                # Whoever had the engine and answers for three ticks has attested that in one of them.
                heard = self.answers.get((each.node.name, name), [])[-3:]
                if len(heard) == 3 and each.beats >= 3 and heard[0] >= self.now - 4 * TICK_S:
                    raise Violation(f"{name} was given up, and answers {each.node.name}")

    # --- clients ----------------------------------------------------------------------------------------------------

    def of(self, known: Known) -> list[Session]:
        key = known.generation, known.client_key, known.principal
        return [
            each for each in self.every if (each.known.generation, each.known.client_key, each.known.principal) == key
        ]

    async def opens(self, process: Process, generation: str, who: int) -> None:
        node, engine = process.node, process.engine
        number = self.number()
        key = b"k%d" % who if generation == "v0" else b"key %d" % number
        known = Known(GATEWAY, CANISTER, generation, key, f"{generation} {who}", b"p%d" % who, b"close " + key)
        session = Session(known, process, self.now)
        if any(each.group == session.group for each in process.own_sessions.values()):
            return
        at, joined_as, _ = self.board.infos.get(node.name, (0, "", None))
        is_out = engine.is_out or node.contact.state != "joined"
        is_unknown = joined_as != node.incarnation or self.board.now_ms - at <= SILENT_MS
        if is_out and (is_unknown or self._is_being_closed(session)):
            return  # nobody can know of it
        if any(each.group == session.group and each.opened == self.now for each in self.every):
            return  # which of two sessions is the later one is known to within moments only
        if not await self._waits(process, session):
            return
        request_id = b"" if generation == "v0" else number.to_bytes(32, "big")
        claim = Claim(known.place, known.client, key, request_id, NOW_NS + 240 * 10**9, known)
        unknown, delayed = node.claims["unknown"], len(engine.delayed)
        try:
            await node.claim(claim, lambda error: self._claimed_late(process, session, error))
        except GatewayError:
            return
        if node.claims["unknown"] > unknown and self._is_being_closed(session):
            del engine.delayed[delayed:]  # nor is it claimed: it would hold the place for a session that never was
            return  # as above
        is_given = self.board.registry.given.get(node.incarnation) == "given"
        session.has_no_trace = generation == "v0" and is_out and is_given
        node.know(known)
        self.every.append(session)
        self.open[session.group] = session
        process.own_sessions[key] = session
        self.journals[node.name][key] = known
        self.counts["opened"] += 1
        if node.contact.state == "joined" and known.place.group:
            await self._beat(process)  # at once, where the claim was not made
        self.note(f"{known.client} {key!r} opens at {node.name} ({node.contact.state})")

    def _claimed_late(self, process: Process, session: Session, error: GatewayError | None) -> None:
        """The engine tells of a claim when its session is open already."""
        if error is not None and process.own_sessions.get(session.known.client_key) is session:
            self.note(f"{session.known.client} is refused late at {process.node.name}: {error}")
            del process.own_sessions[session.known.client_key]
            self.journals[process.node.name].pop(session.known.client_key, None)
            process.node.forget(CANISTER, session.known.client_key)

    def _is_being_closed(self, session: Session) -> bool:
        """Whether a close call that ends it is under way."""
        return any(
            each.ticks is not None and group_of(each.known) == session.group
            for process in self.processes.values()
            for each in process.due
        )

    async def _waits(self, process: Process, session: Session) -> bool:
        """Whoever comes back waits for the close call of its earlier session here."""
        for each in list(process.due):
            if group_of(each.known) != session.group:
                continue
            if each.ticks is not None or not each.is_late:
                return False
            if await self._may_close(process, each) == "free":
                each.ticks = 1
                return False
            if each in process.due:  # nobody knows: the next close call says all that this one would have
                process.due.remove(each)
                if not each.is_foreign:
                    self.journals[process.node.name].pop(each.known.client_key, None)
                    process.node.forget(CANISTER, each.known.client_key)
        return True

    def leave_after(self, process: Process, session: Session) -> None:
        process.due.append(Due(session.known, is_foreign=False, is_late=False, name=process.node.name))

    def leaves(self, process: Process) -> None:
        if process.own_sessions:
            key = self.chance.choice(list(process.own_sessions))
            self.note(f"{key!r} leaves {process.node.name}")
            self.leave_after(process, process.own_sessions.pop(key))

    async def _may_close(self, process: Process, due: Due) -> str:
        node, known = process.node, due.known
        holding = await (node.may_tell(known) if due.is_late else node.release(known.place))
        self.note(f"{node.name} asks for {known.client} {known.client_key!r} of {known.node}: {holding}")
        due.is_alone = holding == "free" and node.contact.state != "joined"
        if holding == "taken":
            process.due.remove(due)
            if not due.is_foreign:
                node.forget(CANISTER, known.client_key)
                self.journals[node.name].pop(known.client_key, None)
        elif holding == "unknown":
            due.is_late = True
        return holding

    async def close_calls(self, process: Process, *, begins: bool = True) -> None:
        for due in list(process.due):
            group = group_of(due.known)
            if due.ticks is None and any(
                each.ticks is not None and group_of(each.known) == group for each in process.due
            ):
                continue  # one after the other
            if due.ticks is None:
                if begins and await self._may_close(process, due) == "free":
                    due.ticks = self.chance.randint(0, 3)
            elif due.ticks > 0:
                due.ticks -= 1
            else:
                self.close(due)
                process.due.remove(due)
                if due.is_late:
                    process.node.have_told(due.known, is_told=True)
                else:
                    process.node.forget(CANISTER, due.known.client_key)
                    process.node.released(due.known.place)
                if not due.is_foreign:
                    self.journals[process.node.name].pop(due.known.client_key, None)

    def close(self, due: Due) -> None:
        """The canister is told that a client left."""
        known = due.known
        self.counts["told of another's" if due.is_foreign else "told"] += 1
        self.note(f"the canister is told of {known.client} {known.client_key!r} of {known.node}")
        self.counts[f"told {known.generation}"] += 1
        group = group_of(known)
        name = known.node or due.name
        sessions = [each for each in self.of(known) if each.process.node.name == name]
        untold = [each for each in sessions if not each.closes]
        for each in (untold or sessions)[-1:]:
            self._closed(each, due)
        session = self.open.pop(group, None)
        if session is not None and self._lives(session):
            process = session.process
            session.is_told = True
            given = self.board.registry.given
            if not {process.node.incarnation, process.node._returning.former} & given.keys():
                raise Violation(f"a living session of {session.known.client} was ended by {known}")

    @staticmethod
    def _lives(session: Session) -> bool:
        process = session.process
        return not process.has_ended and process.own_sessions.get(session.known.client_key) is session

    def _closed(self, session: Session, due: Due) -> None:
        session.closes += 1
        teller = self.processes.get(due.name)
        due.is_alone |= teller is None or teller.engine.is_out or teller.node.contact.state != "joined"
        # A node that was given up while it was only cut off may have told of a client itself.
        is_given = teller is not None and teller.node.incarnation in self.board.registry.given
        session.is_excused |= due.is_alone or session.process.was_given_up or is_given
        if session.closes > 1 and not (session.is_excused or self.counts["flushed"]):
            raise Violation(f"{session.known.client} was told of twice")

    # --- time -------------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        self.now += TICK_S
        self.board.now_ms += round(TICK_S * 1000)
        awake = []
        for process in self.processes.values():
            process.now = self.now
            process.has_beaten = False
            if process.paused_ticks:
                process.paused_ticks -= 1
            else:
                awake.append(process)
        if self.chance.random() < AT_ONCE:
            self.counts["at once"] += 1
            self.is_at_once = True
            await asyncio.gather(*map(self._turn, awake))
            await rest()
            self.is_at_once = False
        else:
            for process in awake:
                await self._turn(process)
        await rest()
        for process in self.processes.values():
            process.beats = process.beats + 1 if process.has_beaten else 0
            if process.has_beaten:
                for session in process.own_sessions.values():
                    if session.is_told and not self.counts["flushed"]:
                        raise Violation(f"{session.known.client} is held, and its canister was told")

    async def _turn(self, process: Process) -> None:
        await self.close_calls(process)
        await self._beat(process)
        process.has_beaten = process.node.contact.state == "joined"

    async def _beat(self, process: Process) -> None:
        node = process.node
        try:
            await node._attempt()
        except NodeNameTaken as error:
            node._replaces = ""
            node._failed(error)
        except ClusterError as error:
            node._failed(error)

    # --- faults -----------------------------------------------------------------------------------------------------

    async def step(self) -> None:  # noqa: PLR0912 - one for each fault
        chance = self.chance
        process = self.processes.get(chance.choice(self.names))
        match chance.choices(*zip(*WEIGHTS, strict=True))[0]:
            case "open" if process is not None and not process.paused_ticks:
                await self.opens(process, chance.choice(GENERATIONS), chance.randrange(3))
            case "leave" if process is not None and not process.paused_ticks:
                self.leaves(process)
            case "kill" if process is not None and len(self.processes) > 1:
                self.counts["killed"] += 1
                await self.kill(process.node.name)
            case "start" if process is None:
                dead = chance.choice([each for each in self.names if each not in self.processes])
                self.start(dead)
            case "pause" if process is not None:
                self.note(f"{process.node.name} pauses")
                process.paused_ticks = chance.choice([1, 3, 8, 25])
                for each in process.due:
                    if each.ticks is not None:  # what is under way ends meanwhile
                        each.ticks = 0
                await self.close_calls(process, begins=False)
            case "engine" if process is not None:
                process.engine.is_away = not process.engine.is_away
                self.note(f"the engine is away for {process.node.name}: {process.engine.is_away}")
            case "mute" if process is not None:
                process.engine.is_mute = not process.engine.is_mute
                self.note(f"answers of the engine are lost for {process.node.name}: {process.engine.is_mute}")
            case "all away":
                is_away = chance.random() < 0.5
                for each in self.processes.values():
                    each.engine.is_away = is_away
            case "flush" if all(
                each.node.contact.state == "joined" and not (each.paused_ticks or each.engine.is_out)
                for each in self.processes.values()
            ) and not (
                any(self.board.registry.given.values())
                or any(due.ticks is not None for each in self.processes.values() for due in each.due)
            ):
                self.counts["flushed"] += 1
                self.note("the engine loses everything")
                self.board.flush()
                for each in self.processes.values():
                    await self._beat(each)
            case "cut":
                one, other = chance.sample(self.names, 2)
                self.cut ^= {frozenset((one, other))}
            case "isolate" if process is not None:
                self.note(f"{process.node.name} is isolated")
                process.engine.is_away = True
                self.cut |= {
                    frozenset((process.node.name, other)) for other in self.names if other != process.node.name
                }
            case "delay" if process is not None:
                process.engine.is_delaying = not process.engine.is_delaying
                process.engine.go_on_with(chance)

    async def heal(self) -> None:
        """All faults end, and time passes until everybody has been told."""
        self.cut.clear()
        for process in self.processes.values():
            process.engine.is_away = process.engine.is_mute = process.engine.is_delaying = False
            process.paused_ticks = min(process.paused_ticks, 2)
            process.engine.go_on_with(self.chance)
        for name in self.names:
            known = self.board.registry.known.of(name)
            has_all = all(field_of(CANISTER, key) in known for key in self.journals[name])
            if name not in self.processes and (not has_all or self.chance.random() < 0.5):
                self.start(name)
        for number in range(HEALING_TICKS):
            await self.tick()
            if number > 25 and not self._left():
                break
        if left := self._left():
            raise Violation(f"never told of: {[str(each.known.client) for each in left]}")

    def _left(self) -> list[Session]:
        """Sessions that canisters know and no node has."""
        living = {each.group for each in self.every if self._lives(each)}  # whose end will be told, too
        left = [each for each in self.open.values() if each.group not in living]
        return [each for each in left if not (each.has_no_trace and each.process.has_ended)]


WEIGHTS = [
    ("open", 40),
    ("leave", 12),
    ("kill", 2),
    ("start", 2),
    ("pause", 2),
    ("engine", 2),
    ("all away", 0.5),
    ("flush", 0.5),
    ("cut", 2),
    ("isolate", 1),
    ("delay", 2),
    ("mute", 1),
    ("nothing", 10),
]


async def rest() -> None:
    """Let whatever was begun end, or wait."""
    loop = asyncio.get_running_loop()
    for _ in range(100):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]
            return


async def run(seed: int, *, ticks: int = 80) -> Counter[str]:
    """One schedule. Returns what happened in it. Raises Violation."""
    chance = random.Random(seed)
    world = World(chance)
    world.begin([chr(ord("a") + number) for number in range(chance.randint(3, 7))])
    try:
        for _ in range(10):
            await world.tick()
        for _ in range(ticks):
            await world.step()
            await world.step()
            await world.tick()
        await world.heal()
    except Violation as error:
        error.add_note("\n".join(world.story[-400:]))
        raise Violation(f"seed {seed}: {error}") from error
    finally:
        for process in world.processes.values():
            await process.node._tasks.cancel()
    return world.counts
