"""The clients of this node at the engine, and whose canister this node may tell that they left."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

from appliance.cluster.claims.engine_clock import EngineClock
from appliance.cluster.commands import Commands
from appliance.cluster.contact import Contact
from appliance.cluster.engine import Entry
from appliance.cluster.registry.clients import encode, field_of
from appliance.cluster.registry.engine import Owner, Registry
from appliance.cluster.registry.ledger import Ledger
from appliance.cluster.seal import Seal
from appliance.errors import EngineAway
from appliance.gateway.nodes import Holding, Known, Place
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal

BATCH = 500
"""Changes in one command."""
BATCHES = 20
"""Commands with one heartbeat; what is left goes with the next."""


class Process(Protocol):
    """A process in its cluster, as the registry uses it (``cluster.node.Node``)."""

    name: str
    incarnation: str
    contact: Contact
    commands: Commands
    timeout_s: float

    @property
    def seals(self) -> list[Seal]:
        """Those of the present identity and of earlier ones, the present first."""


class _Told(NamedTuple):
    place: Place
    is_told: bool


class OwnClients:
    """Keeps the engine's knowledge of this node's clients right, in batches with each heartbeat. ``time`` is that of
    the engine.
    """

    def __init__(self, process: Process, registry: Registry, tasks: Tasks, limit: int) -> None:
        """``limit`` is in bytes."""
        self.time = EngineClock()
        self.ledger = Ledger(limit)
        self._process = process
        self._registry = registry
        self._tasks = tasks
        self.counts: Counter[str] = Counter()
        """Clients of nodes that are given up: ``told``, ``taken``, ``failed``."""
        self._untold: dict[tuple[Owner, bytes], _Told] = {}
        self._telling: set[tuple[Owner, bytes]] = set()
        self._earlier_ms: dict[bytes, int] = {}
        self._since: dict[bytes, float] = {}
        self._is_confirmed = False

    def entry(self, known: Known) -> Entry | None:
        """What a claim writes for a client; None where there is no room. `unclaimed` takes it back."""
        entry = self._encoded(known)
        return entry if self.ledger.reserve(*entry) else None

    def unclaimed(self, known: Known) -> None:
        """The claim of a client has not written its entry."""
        self.ledger.remove(field_of(known.canister_id, known.client_key))

    def written_late(self, known: Known) -> None:
        """A claim that was given up has written its entry after all: it counts only once the client is known."""
        if field_of(known.canister_id, known.client_key) not in self.ledger:
            self.unclaimed(known)

    def know(self, known: Known, since: float | None) -> None:
        """See Nodes. ``since`` is when its opening message was claimed, or relayed without (monotonic clock)."""
        entry = self._encoded(known)
        # Only a key of v0 comes back, so of no other client can the engine know that others told of an earlier session.
        if since is not None and known.place.group == known.client_key:
            self._since[entry.field] = since
        if entry.field not in self.ledger:
            self.ledger.put(*entry)

    def forget(self, canister_id: Principal, client_key: bytes) -> None:
        """See Nodes."""
        field = field_of(canister_id, client_key)
        self.ledger.remove(field)
        self._earlier_ms.pop(field, None)
        self._since.pop(field, None)

    def came_later(self, field: bytes, earlier_ms: int) -> None:
        """What others began to tell by then (time of the engine) of the client with this key was of an earlier session
        than the one that this node has.
        """
        self._earlier_ms[field] = earlier_ms

    def restart(self, clients: Iterable[Known]) -> None:
        """The engine may have lost them, or knows them of an earlier incarnation."""
        self.ledger.restart(self._encoded(each) for each in clients)

    def confirm(self) -> None:
        """Have the engine keep them for another time."""
        self._is_confirmed = False

    async def flush(self) -> None:
        """Tell the engine what it does not know yet. Raises EngineAway."""
        process = self._process
        for key in list(self._untold):
            await self._send(key, is_vital=True)
        for _ in range(BATCHES):
            batch = self.ledger.batch(BATCH)
            if not batch and self._is_confirmed:
                return
            write = partial(self._registry.write, process.name, process.incarnation, batch)
            if not await process.commands.run(write, process.timeout_s, is_vital=True):
                return
            self._is_confirmed = True
            self.ledger.written(batch)

    async def may_tell(self, known: Known, *, is_settled: bool) -> Holding:
        """See Nodes. ``is_settled``: the engine is believed about places."""
        process, place = self._process, known.place
        # A close call of v2 can end no other session: without the engine it is made as by a gateway that is alone.
        alone: Holding = "unknown" if place.group or known.node else "free"
        if process.contact.state != "joined" or (place.group and not is_settled):
            return alone
        owner, field = self._owner(known), field_of(known.canister_id, known.client_key)
        if (key := (owner, field)) in self._untold or key in self._telling or self.is_ending(place):
            return "unknown"
        earlier_ms = 0 if known.node else self._told_before(field)
        tell = partial(
            self._registry.tell, process.name, process.incarnation, owner, field, place, earlier_ms=earlier_ms
        )
        answer: Holding = "unknown"
        self._telling.add(key)  # at the engine, a question whose answer was lost looks like a close call under way
        try:
            answer = await process.commands.run(tell, process.timeout_s)
        except EngineAway:
            answer = alone
        finally:
            if answer != "free":
                self._telling.discard(key)
        if answer == "taken":
            self._was_taken(known)
        self.counts["taken"] += answer == "taken" and known.node != ""
        return answer

    def _was_taken(self, known: Known) -> None:
        field = field_of(known.canister_id, known.client_key)
        if not known.node:
            self.forget(known.canister_id, known.client_key)
        elif known.node == self._process.name and field not in self.ledger:
            self.ledger.remove(field)  # what others told in the name of this node is settled

    def is_ending(self, place: Place) -> bool:
        """Whether a close call of this place has ended, and the engine was not told yet."""
        return place.group != b"" and any(each.place == place for each in self._untold.values())

    def have_told(self, known: Known, *, is_told: bool) -> None:
        """See Nodes. Where the engine cannot be told now, it is with the next `flush`."""
        field = field_of(known.canister_id, known.client_key)
        if is_told and not known.node:
            self.forget(known.canister_id, known.client_key)
        if known.node:
            self.counts["told" if is_told else "failed"] += 1
        key = self._owner(known), field
        self._telling.discard(key)
        self._untold[key] = _Told(known.place, is_told)
        if self._process.contact.state == "joined":
            self._tasks.start(self._send_now(key))

    def _told_before(self, field: bytes) -> int:
        since = self._since.get(field)
        return max(self._earlier_ms.get(field, 0), 0 if since is None else self.time.earliest_ms(since))

    async def _send_now(self, key: tuple[Owner, bytes]) -> None:
        with suppress(EngineAway):
            await self._send(key, is_vital=False)

    async def _send(self, key: tuple[Owner, bytes], *, is_vital: bool) -> None:
        if (told := self._untold.get(key)) is None:
            return
        process = self._process
        send = partial(self._registry.told, process.name, process.incarnation, *key, told.place, is_told=told.is_told)
        await process.commands.run(send, process.timeout_s, is_vital=is_vital)
        self._untold.pop(key, None)

    def _owner(self, known: Known) -> Owner:
        return Owner(known.node or self._process.name, known.incarnation)

    def _encoded(self, known: Known) -> Entry:
        process = self._process
        value = encode(known, process.seals[0], node=process.name, incarnation=process.incarnation)
        return Entry(field_of(known.canister_id, known.client_key), value)
